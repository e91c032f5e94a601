from pathlib import Path

import pytest

from processor.compiler.simplify import by_type, simplify
from processor.language.event_types import ALL_EVENT_TYPES
from processor.language.parser import parse
from schemas.catalog.system_calls import ANSWERED

FIXTURE = Path(__file__).with_name("fixtures") / "simplify.txt"


def pairs() -> list[tuple[str, str]]:
    """Read the fixture: a condition, its simplified form, a blank line."""
    blocks = FIXTURE.read_text(encoding="utf-8").split("\n", 1)[1].strip().split("\n\n")
    return [(before, after) for before, after in (block.split("\n") for block in blocks)]


@pytest.mark.parametrize(("before", "after"), pairs())
def test_what_is_left_of_a_condition_for_an_openat_event(before: str, after: str) -> None:
    """The simplified condition equals the fixture's."""
    left = simplify(parse(before), "openat")

    assert left == {"true": True, "false": False}.get(after, parse(after) if " " in after else None)


@pytest.mark.parametrize(
    "condition", ["dns.question.name endswith .onion", "len(dns.question.name) > 60", "not dns.question.name exists"]
)
def test_what_an_answer_alone_has_is_false_of_other_event_types(condition: str) -> None:
    """Otherwise a rule without evt.type would have the collector send all system calls."""
    found = {event_type for _, event_type, _ in by_type([parse(condition)], ALL_EVENT_TYPES)}

    assert found == (ALL_EVENT_TYPES if condition.startswith("not") else frozenset(ANSWERED))
