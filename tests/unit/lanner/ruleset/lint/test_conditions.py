from typing import Any

import pytest

from lanner.ruleset.lint import conditions
from lanner.ruleset.lint.conditions import contradictions, unbounded_alternatives, useless_exceptions
from lanner.ruleset.lint.conflicts import parts_of
from lanner.ruleset.lint.texts import text_of
from processor.loading import Rule, RuleFile, load_rules

MACROS = """
- macro: opened
  condition: evt.type in (open, openat)
- macro: spawned
  condition: evt.type = execve
- macro: never_true
  condition: (evt.num = 0)
- macro: always_true
  condition: (evt.num >= 0)
- macro: considered
  condition: (never_true)
- macro: known
  condition: (never_true)
- macro: a_shell
  condition: (proc.name = bash or proc.name = zsh)
- macro: in_container
  condition: (container.id != host)
- list: empty
  items: []
"""


def rule(condition: str, exceptions: str = "") -> Rule:
    """Return a loaded rule."""
    text = f"- rule: r\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n{exceptions}"
    result = load_rules([RuleFile("r.yaml", MACROS + text)])
    assert result.ok, result.errors
    return result.rules[0]


@pytest.mark.parametrize(
    ("condition", "with_what"),
    [
        ("evt.type = open and evt.type = execve", "evt.type = open"),
        ("opened and fd.name = /x and spawned", "opened"),
        ("opened and proc.name = bash and proc.name = zsh", "proc.name = bash"),
        ("opened and a_shell and proc.name in (sh, dash)", "a_shell"),
        ("opened and proc.name in (a, b) and proc.name startswith c", "proc.name in (a, b)"),
        ("opened and proc.name in (a, b) and not proc.name in (b, a, c)", "proc.name in (a, b)"),
        ("opened and fd.num = 3 and fd.num > +16", "fd.num = 3"),
        ("opened and fd.num exists and not fd.num exists", "fd.num exists"),
        ("opened and evt.is_open_read = true and evt.is_open_read = false", "evt.is_open_read = true"),
        ("opened and in_container and not in_container", "in_container"),
        ("(opened and spawned) or evt.type = connect", "opened"),
        ("opened and (fd.name = /x or proc.name = a and proc.name = b)", "proc.name = a"),
        ("opened and proc.name = a and (fd.name = /x or proc.name = b)", "proc.name = a"),
    ],
)
def test_parts_that_exclude_each_other_are_reported(condition: str, with_what: str) -> None:
    """Also through macros, and for one alternative with what surrounds it."""
    [problem] = contradictions(text_of(rule(condition)))
    assert problem.message == f"never true together with '{with_what}', so this part never matches"


@pytest.mark.parametrize(
    "condition",
    [
        "opened and proc.name = a and not proc.name = b",
        "opened and proc.aname = a and proc.aname = b",
        "connect_ and fd.ip = 1.2.3.4 and fd.ip = 5.6.7.8".replace("connect_", "evt.type = connect"),
        "evt.type = connect and fd.port = 80 and fd.port = 443",
        "opened and considered and not known",
        "opened and proc.name = a and proc.name in (empty)",
        "opened and fd.num = 10 and fd.num = 010",
        "opened and (proc.name = a or proc.name = b)",
        "opened or spawned",
        "opened and not (proc.name = a) and fd.name exists",
        "evt.type = connect and fd.snet = 10.0.0.0/8 and fd.snet = 10.1.0.0/16",
        "opened and always_true and not never_true",
        "opened and fd.name startswith /etc and fd.name endswith shadow",
    ],
)
def test_what_can_be_true_is_not_reported(condition: str) -> None:
    """Fields with several values, macros that are placeholders, and lists that are empty until someone appends."""
    assert list(contradictions(text_of(rule(condition)))) == []


EXCEPTION = "  exceptions:\n    - name: known_parents\n      fields: {fields}\n      values: {values}\n"


@pytest.mark.parametrize(
    ("fields", "values", "columns"),
    [
        ("[proc.name, proc.pname]", "[[zsh, sshd], [bash, sshd]]", [16]),
        ("proc.name", "[zsh, bash, sh]", [16, 27]),
        ("[proc.name]", "[[bash]]", []),
        ("[fd.name]", "[[/x]]", []),
    ],
)
def test_values_of_exceptions_that_the_rule_excludes_are_reported(fields: str, values: str, columns: list[int]) -> None:
    """Each with its own location."""
    found = useless_exceptions(rule("opened and proc.name = bash", EXCEPTION.format(fields=fields, values=values)))
    assert [problem.column for problem in found] == columns


def test_an_alternative_without_an_event_type_is_reported() -> None:
    """Only if another alternative has one, and only if the rule becomes broad by it."""
    [problem] = unbounded_alternatives(rule("opened and fd.name = /x or proc.name = nc"))
    assert problem.location.text[problem.column - 1 :].startswith("proc.name = nc")
    assert list(unbounded_alternatives(rule("proc.name = nc or proc.name = x"))) == []
    assert list(unbounded_alternatives(rule("opened or spawned"))) == []


@pytest.mark.parametrize("part", ["proc.name != a{0}", "(proc.name = a{0} or fd.name = b{0})"])
def test_a_long_condition_takes_bounded_effort(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are not gone through once for each of them."""
    looked_at = 0

    class Counted:
        def __init__(self, part: Any) -> None:
            self.part = part

        def __getattr__(self, name: str) -> Any:
            nonlocal looked_at
            looked_at += 1
            return getattr(self.part, name)

    long = rule("evt.type = open and " + " and ".join(part.format(number) for number in range(1000)))
    monkeypatch.setattr(conditions, "parts_of", lambda nodes: map(Counted, parts_of(nodes)))
    monkeypatch.setattr(conditions, "_MOST_EFFORT", 10_000)
    assert list(contradictions(text_of(long))) == []
    assert looked_at < 20_000
