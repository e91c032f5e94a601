import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from lanner.ruleset.schema import rule_schema
from processor.loading.definitions import EXTENSION_KEYS
from processor.loading.reader import KINDS
from tests.reference import needs, shared_dir
from tests.unit.lanner.program import lanner
from tests.unit.processor.loading.files import rule

ROOT = Path(__file__).parents[4]
UPSTREAM = shared_dir() / "conformance" / "rules_files" / "falcosecurity_rules"
CHECK = Draft7Validator(rule_schema())


def errors(text: str) -> list[str]:
    """Return what a file breaks."""
    return [error.message for error in CHECK.iter_errors(yaml.safe_load(text))]


def test_the_schema_is_valid_and_has_all_keys_of_the_loader() -> None:
    """A new key fails here if the schema lacks it."""
    Draft7Validator.check_schema(rule_schema())
    items = {item["required"][0]: item["properties"] for item in rule_schema()["items"]["anyOf"]}
    for kind in ("list", "macro", "rule"):
        assert {*KINDS[kind].keys, *EXTENSION_KEYS.get(kind, ())} == items[kind].keys()
        assert all(each["description"] for each in items[kind].values())


def test_the_shipped_rules_are_valid() -> None:
    """As the command prints the schema."""
    assert json.loads(lanner("rules", "schema").stdout) == rule_schema()
    assert errors((ROOT / "rules" / "lanner_rules.yaml").read_text()) == []


@needs(UPSTREAM)
def test_falcos_rules_are_valid() -> None:
    """Files that load have no errors in an editor."""
    for path in sorted(UPSTREAM.glob("*.yaml")):
        # PyYAML takes a bare = for a special value; YAML 1.2, which editors follow, for a text.
        assert errors(path.read_text().replace("[=", "['='").replace(" =,", " '=',").replace(" =]", " '=']")) == []


@pytest.mark.parametrize(
    "text",
    [
        rule("evt.type = open").replace("INFO", "HIGH"),
        rule("evt.type = open", "  tag: [x]\n"),
        "- rule: r\n  condition: x\n",
        "- list: l\n",
        "- macro: m\n  condition: x\n  override: {items: append}\n",
        "rule: r\n",
        "- macro: m\n  condition: x\n  correlation: {type: first_seen, field: proc.name}\n",
        "- macro: m\n  condition: x\n  correlation: {type: event_count, lookback: 1d}\n",
        "- macro: m\n  correlation: {type: event_count, rules: {names: [a]}, timespan: 5m}\n",
    ],
)
def test_a_wrong_file_is_not_valid(text: str) -> None:
    """Unknown keys, missing keys, priorities of other systems."""
    assert errors(text)


@pytest.mark.parametrize(
    "text",
    [
        rule("evt.type = open"),
        "- rule: r\n  enabled: false\n",
        "- rule: r\n  exceptions: [{name: e, values: [[a, [b, c]]]}]\n  override: {exceptions: append}\n",
        "- macro: m\n  correlation: {type: temporal, macros: [a, b], timespan: 5m}\n",
        "- macro: m\n  condition: x\n  correlation: {type: first_seen, field: [fd.sip], lookback: 7d, learning: 1d}\n",
        "- macro: m\n  correlation: {type: event_count, rules: {tags: [a]}, timespan: 5m, condition: {gte: 2}}\n",
        "- required_engine_version: 0.26.0\n- list: l\n  items: [a, 1, true]\n",
        "",
    ],
)
def test_a_right_file_is_valid(text: str) -> None:
    """Definitions, changes of earlier items, and files without any."""
    assert errors(text) == []
