"""Rules with odd values are converted or rejected; none makes the conversion fail, or its result."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lanner.errors import BadInput
from lanner.sigma.cases import cases_of
from lanner.sigma.convert import convert
from lanner.sigma.rules import file_text
from processor.loading import RuleFile, load_rules

RULES = Path(__file__).parent / "rules"
ODD: tuple[Any, ...] = (
    *(None, [], {}, "", 0, -1, True, 1.5, float("nan"), "x", ["a", {"b": 1}], {"a": {"b": [1]}}, [None], [[1]]),
    *("*", "?", "\\", "a\0b", "é\u2028z", "x" * 3000, "2020-13-45", "%", '"', "'", "- a: b", "# c", "a\nb"),
    *("1 of", "not not a", "((", "all of them and", "/", ".", "0x", "10.0.0.0/99"),
)
MODIFIERS = ("re", "all", "odd", "cidr", "base64", "windash", "exists", "gt", "fieldref", "", "contains|re", "wide")
USUAL = {"description": "d", "author": "a", "tags": ["attack.t1059"], "falsepositives": ["x"], "status": "test"}


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*above, key)
        yield from _places(inner, (*above, key))


def _changed(rule: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    made = copy.deepcopy(USUAL | rule)
    *above, key = chance.choice(list(_places(made)))
    inside: Any = made
    for each in above:
        inside = inside[each]
    roll = chance.random()
    if roll < 0.7 or not isinstance(inside, dict):
        inside[key] = copy.deepcopy(chance.choice(ODD))
    elif roll < 0.85:
        inside[f"{key}|{chance.choice(MODIFIERS)}"] = inside.pop(key)
    else:
        inside.pop(key)
    return made


@pytest.mark.parametrize("seed", range(8))
def test_no_odd_value_makes_the_conversion_fail(tmp_path: Path, seed: int) -> None:
    """Whatever stands for a value, a key or a modifier."""
    chance = random.Random(seed)
    rules = [each for path in sorted(RULES.glob("*.yml")) for each in yaml.safe_load_all(path.read_text("utf-8"))]
    path = tmp_path / "a.yml"
    for _ in range(25):
        made = _changed(chance.choice(rules), chance)
        path.write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
        try:
            result = convert([path])
        except BadInput:
            continue
        loaded = load_rules([RuleFile("sigma.yaml", file_text("Test", result.rules))])
        assert loaded.ok or not result.rules, (made, loaded.errors)
        cases_of(loaded)
