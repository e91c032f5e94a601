"""Correlations over rules: which rules they are about, and what is wrong with their lists."""

import pytest

from processor.language.ast import Macro, walk
from processor.loading import LoadResult, RuleFile, load_rules

RULES = """
- macro: twice
  condition: evt.type = open
  correlation: {type: event_count, timespan: 1m, condition: {gte: 2}}
- rule: Opens
  desc: d
  condition: evt.type = open
  output: o
  priority: NOTICE
  tags: [files]
  exceptions: [{name: e, fields: proc.name, comps: in, values: [cat]}]
- rule: Opens twice
  desc: d
  condition: twice
  output: o
  priority: NOTICE
  tags: [files]
"""
COUNTED = "type: value_count, group-by: [evt.hostname], timespan: 1m, condition: {field: rule, gte: 2}"
ORDERED = "type: temporal_ordered, group-by: [evt.hostname], timespan: 1m"
LATER = """
- rule: Connects
  desc: d
  condition: evt.type = connect
  output: o
  priority: NOTICE
  tags: [files, net]
"""


def loaded(correlation: str, *, macro: str = "") -> LoadResult:
    """Load rules of which one is about others; it stands before some of them."""
    about = "- rule: About\n  desc: d\n  condition: m\n  output: o\n  priority: NOTICE\n  tags: [files]\n"
    return load_rules(
        [RuleFile("r.yaml", f"{RULES}- macro: m\n{macro}  correlation: {{{correlation}}}\n{about}{LATER}")]
    )


def legs(result: LoadResult) -> list[str]:
    """Return the rules whose conditions the rule about others has."""
    (about,) = (rule for rule in result.rules if rule.name == "About")
    return [node.name for node in walk(about.condition) if isinstance(node, Macro) and node.name != "m"]


def test_rules_are_taken_by_name_or_tag_wherever_they_stand() -> None:
    """With their exceptions; by a tag, neither stateful ones nor those that are about rules themselves."""
    by_tag, by_name = loaded(f"{COUNTED}, rules: {{tags: [files]}}"), loaded(f"{ORDERED}, rules: [Connects, Opens]")

    assert by_tag.errors == by_name.errors == ()
    assert by_tag.warnings == ()
    assert (legs(by_tag), legs(by_name)) == (["Opens", "Connects"], ["Connects", "Opens"])
    assert [rule.name for rule in by_tag.rules] == ["Opens", "Opens twice", "About", "Connects"]
    (about,) = (rule for rule in by_tag.rules if rule.name == "About")
    assert {"open", "connect"} <= about.event_types
    assert by_tag.correlations["m"].counts_rules
    assert by_name.correlations["m"].legs == ("Connects", "Opens")


@pytest.mark.parametrize(
    ("correlation", "message", "hint"),
    [
        (f"{COUNTED}, rules: [Opens, Connectz]", "there is no rule 'Connectz'", "did you mean 'Connects'?"),
        (f"{COUNTED}, rules: [Opens twice]", "rule 'Opens twice' uses a stateful macro", "one event decides"),
        (f"{COUNTED}, rules: [About]", "there is no rule 'About'", "list rules of this file"),
        (f"{COUNTED}, rules: {{tags: [filez]}}", "no rule has the tag 'filez'", "did you mean 'files'?"),
        (f"{COUNTED}, rules: {{tags: []}}", "'rules' lists no tags", "{tags: [a_tag]}"),
        (f"{COUNTED}, rules: {{tag: [files]}}", "Unknown key 'tag' in 'rules'", "did you mean 'tags'?"),
        (f"{COUNTED}, rules: []", "'rules' lists 0", "'rules: [First rule, Second rule]'"),
        (f"{ORDERED}, rules: [Opens]", "'rules' lists 1", "'rules: [First rule, Second rule]'"),
        (f"{ORDERED}, rules: {{tags: [files]}}", "sequences need the names of rules", "list rules"),
        (f"{ORDERED}, rules: [Opens, Connects], macros: [twice]", "'rules' and 'macros' exclude each other", "remove"),
        (f"{ORDERED}, rules: [Opens, Connects], until: twice", "'rules' excludes aliases and until", "use macros"),
        (COUNTED, "unknown field 'rule'", ""),
    ],
)
def test_what_is_wrong_with_a_list_of_rules(correlation: str, message: str, hint: str) -> None:
    """Each with its line and what to do, once."""
    macro = "" if "rules:" in correlation else "  condition: evt.type = open\n"
    problems = [each for each in loaded(correlation, macro=macro).errors if message in each.message]

    assert len(problems) == 1
    assert hint in problems[0].hint
    assert problems[0].location.text.strip().startswith("correlation:")


def test_a_macro_over_rules_has_no_condition_of_its_own() -> None:
    """It would be evaluated by nobody."""
    result = loaded(f"{COUNTED}, rules: [Opens]", macro="  condition: evt.type = open\n")

    assert "a macro over rules has no condition of its own" in [problem.message for problem in result.errors]
