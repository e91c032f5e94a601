from pathlib import Path

import pytest

from lanner.sigma.cases import CaseFile, cases_of
from lanner.sigma.convert import convert
from lanner.sigma.rules import file_text
from processor.loading import RuleFile, load_rules
from tests.unit.lanner.sigma.converted import rule
from tests.unit.lanner.sigma.test_correlations import correlation


def cases_for(tmp_path: Path, *documents: str) -> CaseFile:
    """Return the test file for Sigma rules."""
    path = tmp_path / "rules.yml"
    path.write_text("---".join(documents))
    return cases_of(load_rules([RuleFile("sigma.yaml", file_text("Test", convert([path]).rules))]))


def test_each_rule_has_an_event_and_another(tmp_path: Path) -> None:
    """A case expects all rules that its event matches."""
    made = cases_for(tmp_path, rule("Image: /a"), rule("Image|endswith: a\nUser: x", name="two", number=2))
    assert made.unproven == ()
    assert made.text.startswith("rule_matching: all\n\ncases:\n")
    assert "    given: [{evt.type: execve, proc: {name: a, exepath: /a}}]\n    expect: one\n" in made.text
    assert made.text.count("    expect: none\n") == 2


def test_what_a_rule_excludes_is_avoided(tmp_path: Path) -> None:
    """Another of the values is taken."""
    detection = "a:\n  Image: [/a, /b]\nb:\n  Image: /a\ncondition: a and not b"
    made = cases_for(tmp_path, rule(detection))
    assert "exepath: /b" in made.text


def test_rules_without_an_event_are_named(tmp_path: Path) -> None:
    """One that nothing matches, and one that needs too many."""
    never = rule("a:\n  Image: /a\nb:\n  Image|startswith: /\ncondition: a and not b", name="never", number=2)
    made = cases_for(tmp_path, rule("Image: /a"), never, correlation("event_count", "condition: {gte: 5000}"))
    assert set(made.unproven) == {"never", "Correlated"}


def test_correlations_have_several_events(tmp_path: Path) -> None:
    """As many as a count needs; for values, with different ones."""
    counted = cases_for(tmp_path, rule("Image: /a"), correlation("event_count", "condition: {gte: 3}"))
    assert counted.unproven == ()
    assert counted.text.count("exepath: /a") == 3
    assert "at: 20ms" in counted.text

    text = correlation("value_count", "condition: {field: DestinationPort, gte: 3}")
    values = cases_for(tmp_path, rule("Initiated: true", "category: network_connection"), text)
    assert values.unproven == ()
    assert "203.0.113.9:445" in values.text


@pytest.mark.parametrize("kind", ["temporal", "temporal_ordered"])
def test_correlations_of_rules_have_an_event_of_each(tmp_path: Path, kind: str) -> None:
    """In the order of the rules."""
    documents = (rule("Image: /b", name="one"), rule("Image: /a", name="two", number=2))
    made = cases_for(tmp_path, *documents, correlation(kind, "", "one, two"))
    assert made.unproven == ()
    assert 0 < made.text.index("exepath: /b") < made.text.index("exepath: /a")
