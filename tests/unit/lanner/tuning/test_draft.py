"""Rules that are written of conditions load."""

import pytest

from lanner.recorder.search import BadCondition
from lanner.tuning.draft import drafted_rule
from processor.loading import RuleFile, load_rules

OWN = RuleFile(
    "own.yaml",
    "- macro: shells\n  condition: proc.name in (sh, bash)\n"
    "- rule: Taken\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: NOTICE\n",
)


def test_a_condition_becomes_a_rule_that_matches_the_same() -> None:
    """With macros of the rule files, over several lines, under any name."""
    name = 'Shell: "odd" #1'
    made = drafted_rule("evt.type = execve\n  and shells", name, ("proc.aname[2]", "proc.cmdline"), [OWN])
    result = load_rules((OWN, RuleFile("draft.yaml", made.text)))
    assert not result.errors
    (rule,) = [each for each in result.rules if each.name == name]
    assert rule.output == f"{name} | proc.aname[2]=%proc.aname[2] proc.cmdline=%proc.cmdline"
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("condition", "name", "fields", "message"),
    [
        ("proc.nme = x", "n", (), "nonexistent field proc.nme"),
        ("proc.name = x", "", (), "needs a name"),
        ("proc.name = x", "a\nb", (), "needs a name"),
        ("proc.name = x", "Taken", (), "another rule has this name"),
        ("proc.name = x", "n", ("proc.nme",), "a field is not known"),
        ("proc.name = x", "n %proc.nme", (), "proc.nme"),
    ],
)
def test_what_would_not_load_is_refused(condition: str, name: str, fields: tuple[str, ...], message: str) -> None:
    """With the reason."""
    with pytest.raises(BadCondition, match=message):
        drafted_rule(condition, name, fields, [OWN])


def test_warnings_of_the_loader_come_along() -> None:
    """A search may look at all events, a rule should not."""
    assert "evt.type" in drafted_rule("proc.name = x", "n", (), []).warnings[0].message
