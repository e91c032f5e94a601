import json

import pytest
import yaml
from jsonschema import Draft7Validator

from lanner.settings import Settings
from lanner.settings.shown import plain, settings_schema
from tests.unit.lanner.program import lanner

CHECK = Draft7Validator(settings_schema())


def errors(text: str) -> list[str]:
    """Return what a settings file breaks."""
    return [error.message for error in CHECK.iter_errors(yaml.safe_load(text))]


def test_the_defaults_are_valid() -> None:
    """As the commands print both."""
    Draft7Validator.check_schema(settings_schema())
    assert json.loads(lanner("config", "schema").stdout) == settings_schema()
    assert errors(lanner("config", "default").stdout) == []
    assert list(CHECK.iter_errors(plain(Settings()))) == []


def test_every_setting_is_described() -> None:
    """Editors show the description."""
    todo = [settings_schema()]
    while todo:
        for name, each in todo.pop()["properties"].items():
            assert each.get("description") or name == "type"
            todo += [each] if "properties" in each else []


@pytest.mark.parametrize(
    "text",
    [
        "priorty: debug",
        "priority: loud",
        "file_output: {enable: true}",
        "file_output: {enabled: perhaps}",
        "sinks: {Bad Name: {type: slack}}",
        "sinks: {pager: {type: nonsense}}",
    ],
)
def test_a_wrong_file_is_not_valid(text: str) -> None:
    """Unknown settings and values."""
    assert errors(text)


@pytest.mark.parametrize(
    "text",
    [
        "rules_files: /etc/rules.yaml",
        "rules_files: [a.yaml, b.yaml]",
        "sinks: {pager: {type: slack, channel: '#x'}}",
        "routes: [{sink: stdout, match: 'proc.name = bash'}]",
        "file_output:",
    ],
)
def test_a_right_file_is_valid(text: str) -> None:
    """One value instead of a list, conditions instead of mappings, empty sections."""
    assert errors(text) == []
