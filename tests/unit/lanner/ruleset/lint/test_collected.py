from pathlib import Path

import pytest

from lanner.ruleset.lint.lint import never_collected
from processor.loading import Problem, RuleFile, load_rules, read_rule_files
from tests.unit.lanner.program import lanner

SHIPPED = Path(__file__).parents[5] / "rules"
RULE = """
- rule: X
  desc: d
  condition: {condition}
  output: "%proc.nthreads"
  priority: NOTICE
"""
MACRO = "- macro: many_threads\n  condition: (proc.nthreads > 9)\n"


def warnings_of(condition: str) -> list[Problem]:
    """Return the warnings of a rule that Falco doesn't have."""
    result = load_rules([RuleFile("r.yaml", MACRO + RULE.format(condition=condition))])
    assert result.ok, result.errors
    return list(never_collected(result.rules, result.macros))


@pytest.mark.parametrize(
    ("condition", "messages", "hints"),
    [
        ("evt.type = futex", ["no collector sends futex: the rule never matches"], ["remove the rule"]),
        (
            "evt.type in (openat, futex) and fd.name = /x",
            ["no collector sends futex: the rule is evaluated only for the others"],
            ["remove them"],
        ),
        (
            "evt.type = openat and proc.nthreads > 3",
            ["'proc.nthreads' never has a value: a resource usage value, which would have to be read for each event"],
            ["remove the check of 'proc.nthreads'"],
        ),
        (
            "evt.type = openat and many_threads",
            ["'proc.nthreads' never has a value: a resource usage value, which would have to be read for each event"],
            ["remove the check of 'proc.nthreads'"],
        ),
        ("evt.type != futex and proc.name = x", [], []),
        ("evt.type in (openat, execve) and proc.env[X] exists", [], []),
    ],
)
def test_what_no_collector_sends_is_reported(condition: str, messages: list[str], hints: list[str]) -> None:
    """With the location in the rule or macro; fields of outputs may be missing."""
    found = warnings_of(condition)
    assert [problem.message for problem in found] == messages
    assert [problem.hint for problem in found] == hints
    assert all(problem.code.name.startswith("LINT_") for problem in found)
    assert [problem.line for problem in found] == [2 if problem.item_type == "macro" else 6 for problem in found]


def test_a_field_of_another_source_without_value_is_reported() -> None:
    """Upstream's rules on failures of multi-factor authentication load, but never match."""
    text = RULE.format(condition="okta.mfa.failure.countlast[300] >= 3").replace("%proc.nthreads", "o")
    result = load_rules([RuleFile("r.yaml", f"{text}  source: okta\n")])

    (problem,) = never_collected(result.rules, result.macros)

    assert problem.message.startswith("'okta.mfa.failure.countlast' never has a value: use a stateful macro")


def test_the_rules_that_ship_require_nothing_that_is_not_sent() -> None:
    """The built-in rules are used everywhere."""
    result = load_rules(read_rule_files([SHIPPED]))
    assert list(never_collected(result.rules, result.macros)) == []


def test_validate_reports_it_and_strict_fails(tmp_path: Path) -> None:
    """As for other warnings; disabled rules have none."""
    file = tmp_path / "r.yaml"
    file.write_text(RULE.format(condition="evt.type = futex"))
    done = lanner("rules", "validate", file)
    assert done.returncode == 0
    assert "r.yaml:4:14: warning LINT_EVENT_TYPE_NOT_COLLECTED: no collector sends futex" in done.stdout
    assert "1 warning" in done.stdout
    assert lanner("rules", "validate", "--strict", file).returncode == 1
    file.write_text(RULE.format(condition="evt.type = futex") + "  enabled: false\n")
    assert lanner("rules", "validate", "--strict", file).returncode == 0
