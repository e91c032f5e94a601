"""Correlations over rules: which rules they are about, and what is wrong with their lists."""

import pytest

from processor.language.ast import Macro, walk
from processor.loading import LoadResult, RuleFile, load_rules
from processor.rule import correlations_of

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
    """With their exceptions, and whatever their group; by a tag, none that are about rules."""
    by_tag, by_name = loaded(f"{COUNTED}, rules: {{tags: [files]}}"), loaded(f"{ORDERED}, rules: [Connects, Opens]")

    assert by_tag.errors == by_name.errors == ()
    assert by_tag.warnings == ()
    assert (legs(by_tag), legs(by_name)) == (["Opens", "Opens twice", "twice", "Connects"], ["Connects", "Opens"])
    assert [rule.name for rule in by_tag.rules] == ["Opens", "Opens twice", "About", "Connects"]
    (about,) = (rule for rule in by_tag.rules if rule.name == "About")
    assert {"open", "connect"} <= about.event_types
    assert correlations_of(by_tag.macros)["m"].counts_rules
    assert correlations_of(by_name.macros)["m"].legs == ("Connects", "Opens")


@pytest.mark.parametrize(
    ("correlation", "message", "hint"),
    [
        (f"{COUNTED}, rules: [Opens, Connectz]", "there is no rule 'Connectz'", "did you mean 'Connects'?"),
        (
            f"{ORDERED}, rules: [Opens, Opens twice]",
            "rule 'Opens twice' counts by nothing and 'm' by evt.hostname",
            "use type temporal, or the same group-by",
        ),
        (f"{COUNTED}, rules: [Opens, About]", "rules are about themselves: About -> About", "remove one of them"),
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


def about(name: str, *rules: str, group_by: str = "evt.hostname") -> str:
    """Return a rule about others."""
    macro = name.lower().replace(" ", "_")
    return (
        f"- macro: {macro}\n  correlation:\n    type: event_count\n    rules: [{', '.join(rules)}]\n"
        f"    group-by: [{group_by}]\n    timespan: 1m\n    condition: {{gte: 2}}\n"
        f"- rule: {name}\n  desc: d\n  condition: {macro}\n  output: o\n  priority: NOTICE\n  tags: [files]\n"
    )


def test_rules_may_be_about_rules_about_rules() -> None:
    """Wherever they stand; by a tag, no rule about rules is taken."""
    texts = (about("Third", "Second", "Opens"), about("Second", "First"), about("First", "Connects"))
    tagged = about("By tag", "Opens").replace("[Opens]", "{tags: [files]}")
    result = load_rules([RuleFile("r.yaml", "".join((RULES, *texts, tagged, LATER)))])

    assert result.errors == ()
    (third, by_tag) = (rule.condition for rule in result.rules if rule.name in ("Third", "By tag"))
    assert [each.name for each in walk(third) if isinstance(each, Macro) and each.name[0].isupper()] == [
        *("Second", "First", "Connects", "Opens")
    ]
    assert {each.name for each in walk(by_tag) if isinstance(each, Macro) and each.name[0].isupper()} == {
        *("Opens", "Opens twice", "Connects")
    }


def test_a_cycle_of_rules_is_named() -> None:
    """At the place in the list that closes it, once."""
    texts = (about("A", "B", "Opens"), about("B", "C"), about("C", "Opens", "A"))
    (problem,) = load_rules([RuleFile("r.yaml", "".join((RULES, *texts)))]).errors

    assert problem.message == "rules are about themselves: A -> B -> C -> A"
    place = problem.location
    assert (place.file, place.text.strip()) == ("r.yaml", "rules: [Opens, A]")
    assert place.text[place.column - 1 :] == "A]"


def test_rules_about_rules_have_a_maximum_of_levels() -> None:
    """Each level repeats the conditions of the rules below it."""
    texts = (about("A", "Opens"), about("B", "A"), about("C", "B"), about("D", "C"))

    assert load_rules([RuleFile("r.yaml", "".join((RULES, *texts[:3])))]).errors == ()
    (problem,) = load_rules([RuleFile("r.yaml", "".join((RULES, *texts)))]).errors
    assert problem.message == "rule 'C' is about too many levels of rules"


def test_a_long_chain_of_rules_about_rules_is_reported() -> None:
    """However long it is, and with nothing reported that is wrong only because of that."""
    chain = [about(f"R{n}", f"R{n + 1}") for n in range(1500)]
    problems = load_rules([RuleFile("r.yaml", "".join((RULES, *chain, about("R1500", "Opens"))))]).errors

    others = [each.message for each in problems if not each.message.endswith("is about too many levels of rules")]
    assert others == ["100 errors: the remaining items are not checked"]


def test_the_conditions_of_rules_about_rules_are_limited_together() -> None:
    """Each of 100 rules repeats the conditions of 100 rules, each of which repeats those of 60."""
    opens = "".join(LATER.replace("Connects", f"O{n}").replace("files, net", "some") for n in range(60))
    middle = about("M", "X").replace("[X]", "{tags: [some]}")
    middle += "".join(f"- rule: M{n}\n  desc: d\n  condition: m\n  output: o\n  priority: NOTICE\n" for n in range(100))
    top = about("T", *(f"M{n}" for n in range(100)))
    top += "".join(f"- rule: T{n}\n  desc: d\n  condition: t\n  output: o\n  priority: NOTICE\n" for n in range(100))
    problems = load_rules([RuleFile("r.yaml", opens + middle + top)]).errors

    assert {each.message for each in problems} == {
        "all conditions have more than 300,000 checks with macros and rules resolved"
    }


OTHER_GROUP = f"""{RULES}
- macro: counted
  correlation: {{{COUNTED}, rules: [Opens, Opens twice]}}
- macro: often
  condition: evt.type = open
  correlation: {{type: event_count, group-by: [evt.hostname], timespan: 1m, condition: {{gte: 9}}}}
- macro: counted_then_often
  correlation: {{{ORDERED}, macros: [counted, often]}}
- rule: About
  desc: d
  condition: CONDITION
  output: o
  priority: NOTICE
"""


@pytest.mark.parametrize("condition", ["counted", "counted or often", "(counted and proc.name = a) or often"])
def test_a_rule_may_count_by_another_group_than_the_macro_about_it(condition: str) -> None:
    """Also beside another stateful macro, as long as one is enough."""
    assert load_rules([RuleFile("r.yaml", OTHER_GROUP.replace("CONDITION", condition))]).errors == ()


@pytest.mark.parametrize(
    ("condition", "message", "item"),
    [
        ("counted and often", "'counted' is combined with other stateful macros, or negated", "About"),
        ("evt.type = open and not counted", "'counted' is combined with other stateful macros, or negated", "About"),
        ("counted_then_often", "'counted_then_often' is an ordered sequence", "About"),
    ],
)
def test_what_another_group_decides_later_is_not_combined(condition: str, message: str, item: str) -> None:
    """What it is combined with was evaluated before, without it."""
    problems = load_rules([RuleFile("r.yaml", OTHER_GROUP.replace("CONDITION", condition))]).errors

    assert [(each.item_name, message in each.message) for each in problems] == [(item, True)]
    assert problems[0].location.file == "r.yaml"
    assert problems[0].hint.startswith("use it alone")


def test_a_macro_over_rules_has_no_condition_of_its_own() -> None:
    """It would be evaluated by nobody."""
    result = loaded(f"{COUNTED}, rules: [Opens]", macro="  condition: evt.type = open\n")

    assert "a macro over rules has no condition of its own" in [problem.message for problem in result.errors]
