from typing import Any

import pytest

from lanner.ruleset.lint import conditions as shadowed_module
from lanner.ruleset.lint.conditions import shadowed_rules
from processor.loading import RuleFile, load_rules
from processor.rule import correlations_of

MACROS = """
- macro: opened
  condition: evt.type in (open, openat)
- macro: a_shell
  condition: proc.name in (bash, zsh)
"""


def shadowed(*conditions: str, extra: str = "") -> list[str]:
    """Return the names of the rules that never match first; rules have numbers for names."""
    text = "".join(
        f"- rule: {number}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n"
        for number, condition in enumerate(conditions)
    )
    result = load_rules([RuleFile("r.yaml", MACROS + text + extra)])
    assert result.ok, result.errors
    return [problem.item_name for problem in shadowed_rules(result.rules, correlations_of(result.macros))]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("opened", "evt.type = open and fd.name = /x"),
        ("opened and a_shell", "opened and proc.name = bash"),
        ("opened and (a_shell or fd.name = /x)", "openat_ and fd.name = /x".replace("openat_", "evt.type = openat")),
        ("opened and not proc.name = a", "opened and not proc.name in (a, b) and fd.name = /x"),
        ("evt.type != execve", "opened and fd.name = /x"),
    ],
)
def test_a_rule_behind_a_wider_one_is_reported(earlier: str, later: str) -> None:
    """In the other order, nothing is reported."""
    assert shadowed(earlier, later) == ["1"]
    assert shadowed(later, earlier) == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("opened and fd.name = /x", "opened and fd.name = /y"),
        ("opened and fd.name = /x", "opened"),
        ("evt.type = open", "opened"),
        ("opened and not a_shell", "opened and not proc.name = bash"),
        ("opened and proc.name startswith b", "opened and proc.name = bash"),
    ],
)
def test_a_rule_that_can_match_first_is_not_reported(earlier: str, later: str) -> None:
    """A later rule is only reported if that is certain."""
    assert shadowed(earlier, later) == []


def test_a_disabled_rule_shadows_nothing() -> None:
    """It raises no alert, so that the later rule does."""
    conditions = ("opened", "opened and fd.name = /x")
    assert shadowed(*conditions, extra="- rule: 0\n  enabled: false\n") == []


def test_stateful_and_suppressed_rules_neither_shadow_nor_are_shadowed() -> None:
    """They are evaluated apart from all others."""
    macro = (
        "- macro: often\n  condition: opened\n"
        "  correlation: {type: event_count, group-by: [proc.name], timespan: 1m, condition: {gte: 9}}\n"
    )
    assert shadowed("often", "opened and fd.name = /x", extra=macro) == []
    assert shadowed("opened", "often", extra=macro) == []
    suppress = "  suppress: {by: [fd.name], for: 1m}\n"
    for name in (0, 1):
        text = f"- rule: {name}\n  override: {{suppress: replace}}\n{suppress}"
        assert shadowed("opened", "opened and fd.name = /x", extra=text) == []


def test_the_search_ends_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of thousands of rules are not compared in pairs."""
    compared = 0

    class Counting(shadowed_module._Search):
        def covers(self, earlier: Any, later: Any) -> bool:
            nonlocal compared
            compared += 1
            return super().covers(earlier, later)

    monkeypatch.setattr(shadowed_module, "_MOST_EFFORT", 500)
    monkeypatch.setattr(shadowed_module, "_Search", Counting)
    shadowed(*(f"opened and fd.name = /{number}" for number in range(100)))
    assert compared <= 500
