from pathlib import Path

import pytest

from lanner.commands.services.collector import checked_filter
from lanner.errors import BadInput
from lanner.settings import LoadedSettings
from lanner.settings.load import read_settings
from lanner.wiring.rules import load_detection
from lanner.wiring.stages.fleet_collector import own_filter

RULE = "- rule: A\n  desc: d\n  condition: evt.type = openat and fd.name = /a\n  output: o\n  priority: INFO\n"


def _settings(tmp_path: Path, rules: str) -> LoadedSettings:
    path = tmp_path / "rules.yaml"
    path.write_text(rules, encoding="utf-8")
    return read_settings(None, {}, rules=[str(path)])


def test_it_is_what_the_rules_require(tmp_path: Path) -> None:
    """The child process returns the same filter."""
    loaded = _settings(tmp_path, RULE)

    expected = load_detection(loaded.settings, warnings=False).pushdown_filter
    assert own_filter(lambda: checked_filter(loaded, warnings=False)) == expected


def test_what_is_wrong_with_the_rules_is_reported_as_ever(tmp_path: Path) -> None:
    """Errors have file and line."""
    loaded = _settings(tmp_path, RULE.replace("fd.name", "fd.nam"))

    with pytest.raises(BadInput, match=r"rules\.yaml") as found:
        own_filter(lambda: checked_filter(loaded, warnings=False))
    with pytest.raises(BadInput) as expected:
        load_detection(loaded.settings, warnings=False)
    assert found.value.messages == expected.value.messages
