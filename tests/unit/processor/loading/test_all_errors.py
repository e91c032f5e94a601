import pytest

from processor.loading import RuleFile, load_rules


def marked(text: str) -> list[str]:
    """Return the text at each error."""
    errors = load_rules([RuleFile("rules.yaml", text)]).errors
    return [each.location.text[each.column - 1 : each.column - 1 + each.location.width] for each in errors]


def rule(condition: str, rest: str = "  desc: d\n  output: o\n  priority: NOTICE\n") -> str:
    """Return a rule."""
    return f"- rule: R\n  condition: {condition}\n{rest}"


@pytest.mark.parametrize(
    ("condition", "wrong"),
    [
        ("evt.typ = open and nomacro and m2 and proc.nmae = x", ["evt.typ", "nomacro", "m2", "proc.nmae"]),
        ("evt.typ = open and fd.name beginswith /etc and proc.nmae = x", ["evt.typ", "b", "proc.nmae"]),
        ("(evt.typ = open and (proc.name is a or fd.nmae = y)) and nomacro", ["evt.typ", "i", "fd.nmae", "nomacro"]),
        ("fd.name beginswith a and fd.name endsin b and evt.typ = open", ["b", "e", "evt.typ"]),
        ("evt.typ = open and proc.name in shells, bash and nomacro", ["evt.typ", ",", "nomacro"]),
        ("evt.type = open and fd.name = 'a and evt.typ = open", ["'"]),
    ],
)
def test_an_error_of_a_condition_hides_no_others(condition: str, wrong: list[str]) -> None:
    """Each comparison and macro is checked, also beside a syntax error, but not behind an open quotation mark."""
    assert marked(rule(condition)) == wrong


def test_errors_of_structure_hide_no_others() -> None:
    """All keys of a rule that lacks some are checked, its condition and its output."""
    text = (
        rule("evt.typ = open and nomacro", "  priority: HIGH\n  output: '%proc.nmae'\n")
        + "- macro: m\n  condition: m3\n  override: {x: append}\n"
    )

    assert marked(text)[:5] == ["rule: R", "evt.typ", "nomacro", "HIGH", "%proc.nmae"]


def test_an_error_in_an_exception_hides_none_in_the_condition() -> None:
    """Exceptions are a part of the condition only if they are valid."""
    exceptions = "  exceptions:\n    - {name: e, fields: [proc.name, fd.name], values: [[a, b], [c]]}\n"

    assert "evt.typ" in marked(rule("evt.typ = open") + exceptions)


def test_an_error_of_a_macro_hides_none_of_the_rules_that_use_it() -> None:
    """The error is reported at the macro alone, and those of the rule at the rule."""
    text = "- macro: broken\n  condition: fd.name beginswith a and proc.nmae = x\n" + rule("broken and evt.typ = open")

    assert marked(text) == ["b", "proc.nmae", "evt.typ"]


def test_a_change_of_an_earlier_condition_is_not_checked_alone() -> None:
    """It is only a part of a condition."""
    change = "- rule: R\n  condition: and proc.nmae = x\n  override: {condition: append, output: append}\n"

    assert len(marked(rule("evt.type = open") + change)) == 1


def test_a_rule_that_may_be_skipped_reports_no_unknown_field() -> None:
    """Unknown fields are no errors of it."""
    text = rule("evt.type = open and nomacro and proc.nmae = x") + "  skip-if-unknown-filter: true\n"

    assert marked(text) == ["nomacro"]
