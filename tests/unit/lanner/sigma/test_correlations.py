from pathlib import Path
from typing import Any

import pytest
import yaml

from lanner.sigma.convert import Conversion, convert
from lanner.sigma.rules import file_text
from processor.loading import RuleFile, load_rules
from tests.unit.lanner.sigma.converted import rule

CORRELATION = """
title: Correlated
name: many
id: 00000000-0000-4000-8000-000000000009
correlation:
  type: {kind}
  rules: [{rules}]
  group-by: [{group}]
  timespan: {span}
  {rest}
level: critical
"""
NET = "category: network_connection"


def made(tmp_path: Path, *documents: str) -> Conversion:
    """Convert documents of one file."""
    path = tmp_path / "rules.yml"
    path.write_text("---".join(documents))
    return convert([path])


def correlation(kind: str, rest: str = "", rules: str = "one", group: str = "User", span: str = "5m") -> str:
    """Return a correlation as YAML."""
    return CORRELATION.format(kind=kind, rules=rules, group=group, span=span, rest=rest)


def items(result: Conversion) -> dict[str, Any]:
    """Return the items of the rule file by name, which has to load without a problem."""
    text = file_text("Test", result.rules)
    loaded = load_rules([RuleFile("sigma.yaml", text)])
    assert not (*loaded.errors, *loaded.warnings)
    return {next(iter(each.values())): each for each in yaml.safe_load(text)}


def test_a_count_of_events_is_a_stateful_macro(tmp_path: Path) -> None:
    """Its rules' events count together; a rule that is only counted makes no alert of its own."""
    documents = (rule("Image: /a"), rule("Image: /b", name="two", number=2))
    found = items(made(tmp_path, *documents, correlation("event_count", "condition: {gte: 10}", "one, two")))
    assert found["sigma_many"]["condition"].strip() == "(sigma_one or sigma_two)"
    assert found["sigma_many"]["correlation"] == {
        "type": "event_count", "group-by": ["user.name"], "timespan": "5m", "condition": {"gte": 10}
    }  # fmt: skip
    assert found["Correlated"]["condition"] == "sigma_many"
    assert found["Correlated"]["priority"] == "CRITICAL"
    assert not {"one", "two"} & found.keys()


def test_a_count_of_values_names_the_field(tmp_path: Path) -> None:
    """By Lanner's name; weeks are days."""
    text = correlation("value_count", "condition: {field: DestinationPort, gt: 20}", group="SourceIp", span="1w")
    found = items(made(tmp_path, rule("Initiated: true", NET), text))
    assert found["sigma_many"]["correlation"]["condition"] == {"field": "fd.sport", "gt": 20}
    assert found["sigma_many"]["correlation"]["timespan"] == "7d"


@pytest.mark.parametrize("kind", ["temporal", "temporal_ordered"])
def test_events_of_several_rules_are_legs(tmp_path: Path, kind: str) -> None:
    """Fields that differ between the rules become an alias; with `generate`, the rules keep their own alerts."""
    aliases = "aliases: {Where: {one: SourceIp, two: DestinationIp}}\n  generate: true"
    documents = (rule("Initiated: false", NET), rule("Initiated: true", NET, "two", 2))
    found = items(made(tmp_path, *documents, correlation(kind, aliases, "one, two", "Where")))
    assert found["sigma_many"]["correlation"] == {
        "type": kind, "group-by": ["where"], "timespan": "5m", "macros": ["sigma_one", "sigma_two"],
        "aliases": {"where": {"sigma_one": "fd.cip", "sigma_two": "fd.sip"}},
    }  # fmt: skip
    assert {"one", "two", "Correlated"} <= found.keys()


def test_a_correlation_can_be_a_leg(tmp_path: Path) -> None:
    """Its macro is a leg of the other's."""
    count = correlation("event_count", "condition: {gte: 3}")
    chain = correlation("temporal_ordered", "", "many, two").replace("name: many", "name: chain").replace("009", "008")
    documents = (rule("Image: /a"), rule("Image: /b", name="two", number=2))
    found = items(made(tmp_path, *documents, count, chain.replace("title: Correlated", "title: Chain")))
    assert found["sigma_chain"]["correlation"]["macros"] == ["sigma_many", "sigma_two"]
    assert "Correlated" not in found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (correlation("event_count", "condition: {lt: 10}"), "neither gte nor gt"),
        (correlation("event_count", "condition: {gte: 10}", span="2M"), "the longest is 31d"),
        (correlation("event_count", "condition: {gte: 10}", group="Hashes"), "the field Hashes has no equivalent"),
        (correlation("value_sum", "condition: {field: ProcessId, gte: 10}"), "the sum of a field"),
        (correlation("event_count", "condition: {gte: 10}", "nobody"), "nobody"),
        (correlation("event_count", "condition: {gte: 10}", "bad"), "its rule bad can't be converted"),
    ],
)
def test_what_has_no_equivalent_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """The correlation is rejected with the reason."""
    result = made(tmp_path, rule("Image: /a"), rule("Odd: x", name="bad", number=2), text)
    assert any(reason in each.reason for each in result.rejected)
    assert "Correlated" not in [each.name for each in result.rules]
