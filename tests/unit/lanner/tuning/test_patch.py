from dataclasses import replace

import pytest

from lanner.recorder.search import BadCondition
from lanner.ruletest.reading import read_suite
from lanner.ruletest.running import RuleSet, Runner
from lanner.tuning.patch import TakenNames, drafted_rule, patch_text, suite_text, witness_cases
from lanner.tuning.proposals import FieldCondition, Proposal
from processor.compiler.mapping import compile_mapping
from processor.loading import RuleFile, load_rules
from processor.loading.items.exceptions import split_exceptions

TAKEN = TakenNames(["secrets"])
RULES = """
- list: secrets
  items: [/srv/]
- rule: "Read: all"
  desc: d
  condition: evt.type = openat and fd.name pmatch (secrets)
  output: "%fd.name"
  priority: NOTICE
"""
WITNESS = {
    "evt.type": "openat",
    "fd.name": "/srv/data/a b#c",
    "proc.name": "tar",
    "proc.codepath": "/usr/bin/tar",
    "proc.cmdline": "tar -c /srv",
}
ANCESTORS = {"proc.pname": "bash", "proc.pcmdline": "bash job", "proc.aname[2]": "cron", "proc.acmdline[2]": "cron -f"}
VALUES = [
    *("/srv/data/a b#c", "/srv/data/a, b", "/srv/data/[x]", "/srv/data/yes", "/srv/data/: y"),
    *("x)or(evt.num>=0", 'a"b', "a\\b", "' or 1=1", "secrets", "a secrets b"),
]


def proposal(*conditions: tuple[str, str, str]) -> Proposal:
    """Return an exception of the rule."""
    return Proposal("Read: all", tuple(FieldCondition(*each) for each in conditions), 7, 9, 2, 0, WITNESS)


FOUND = [
    proposal(("proc.codepath", "=", "/usr/bin/tar"), ("fd.name", "startswith", "/srv/data/")),
    proposal(("proc.codepath", "=", "/usr/bin/cp"), ("proc.cmdline", "glob", "cp * /x")),
]


def test_the_patch_loads_after_its_rules_and_quiets_its_witnesses() -> None:
    """Its own tests prove it: they fail without the patch."""
    files = [RuleFile("r.yaml", RULES), RuleFile("quiet.yaml", patch_text(FOUND, TAKEN))]
    loaded = load_rules(files)
    suite, problems = read_suite(
        "quiet_test.yaml", suite_text([next(witness_cases(FOUND[0]))], ["r.yaml", "quiet.yaml"])
    )

    assert (loaded.errors, loaded.warnings, problems) == ((), (), ())
    assert suite.rules == ("r.yaml", "quiet.yaml")
    for files_used, is_quiet in ((files, True), (files[:1], False)):
        result = load_rules(files_used)
        runner = Runner(suite, RuleSet(result.rules), "all", lambda _: ())
        assert [runner.run(case).passed for case in suite.cases] == [is_quiet]


def test_values_are_appended_to_an_exception_of_the_rule() -> None:
    """Once for all values of an exception, beside new ones."""
    named = RULES + '  exceptions:\n    - {name: by path, fields: [proc.codepath, fd.name], comps: ["=", startswith]}\n'
    found = [replace(FOUND[0], exception="by path"), FOUND[1], replace(FOUND[0], exception="by path")]
    patch = patch_text(found, TAKEN)
    loaded = load_rules([RuleFile("r.yaml", named), RuleFile("quiet.yaml", patch)])

    assert (loaded.errors, loaded.warnings) == ((), ())
    assert loaded.rules[0].active_exceptions == ("by path", "tuned_cp_1")
    assert patch.count("name: by path") == 1
    assert patch.count("/srv/data/") == 2


def test_the_patch_states_what_each_exception_quiets() -> None:
    """People decide by it."""
    assert "# Quiets 7 of 9 alerts, on 2 hosts." in patch_text(FOUND, TAKEN)


@pytest.mark.parametrize("value", VALUES)
def test_an_exception_excuses_exactly_its_value(value: str) -> None:
    """Whoever causes alerts chooses it: YAML's characters, conditions, quotation marks, names of lists."""
    found = [proposal(("proc.codepath", "=", "/usr/bin/tar"), ("fd.name", "=", value))]
    loaded = load_rules([RuleFile("r.yaml", RULES), RuleFile("quiet.yaml", patch_text(found, TAKEN))])

    assert loaded.errors == ()
    _, (excluded,) = split_exceptions(loaded.rules[0].condition, loaded.rules[0].active_exceptions)
    evaluate = compile_mapping(excluded)
    event = {"proc.codepath": "/usr/bin/tar", "evt.num": 7}
    assert not evaluate({**event, "fd.name": value})
    assert all(evaluate({**event, "fd.name": other}) for other in ("/srv/a", "/srv/data/x"))


def test_a_case_is_tried_without_ancestors_first() -> None:
    """The parent's name stays, as rules look at it."""
    whole = replace(FOUND[0], witness={**WITNESS, **ANCESTORS})

    short, long = witness_cases(whole)

    assert ("bash" in short, "job" in short, "cron" in short) == (True, False, False)
    assert "cron" in long
    assert "job" in long
    assert not list(witness_cases(replace(whole, witness={"evt.type": "openat"})))


def test_a_second_patch_has_names_of_its_own() -> None:
    """Rules with two exceptions of one name don't load."""
    first = patch_text(FOUND, TAKEN)
    files = [RuleFile("r.yaml", RULES), RuleFile("quiet.yaml", first)]
    names = [each.name for each in load_rules(files).rules[0].exceptions]

    second = patch_text(FOUND[::-1], TakenNames(TAKEN.lists, names))

    assert len(set(names)) == 2
    assert not load_rules([*files, RuleFile("more.yaml", second)]).errors
    assert load_rules([*files, RuleFile("more.yaml", first)]).errors


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
