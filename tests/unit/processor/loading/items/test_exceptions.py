"""Exceptions of rules."""

import pytest

from processor.language.printer import print_condition
from processor.loading import LoadResult, RuleFile, load_rules

RULE = "- rule: R\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n  exceptions:\n  - "


def load(exception: str) -> LoadResult:
    """Load a rule with one exception."""
    return load_rules([RuleFile("rules.yaml", f"{RULE}{exception}\n")])


@pytest.mark.parametrize(
    ("exception", "condition"),
    [
        (
            '{name: e, fields: [proc.name], comps: [" startswith oneof\\t"], values: [[[a, b]]]}',
            "proc.name startswith oneof (a, b)",
        ),
        (
            '{name: e, fields: [proc.name, fd.name], comps: [" contains ", "\\r\\n= anyof "], values: [[a, [b, c]]]}',
            "(proc.name contains a and fd.name = anyof (b, c))",
        ),
        ('{name: e, fields: proc.name, comps: " in ", values: [a, b]}', "proc.name in (a, b)"),
        (
            "{name: e, fields: [proc.name], comps: [=], values: [[toupper(proc.pname)]]}",
            "proc.name = toupper(proc.pname)",
        ),
        ("{name: e, fields: ['tolower(proc.name)'], comps: [=], values: [[a]]}", "tolower(proc.name) = a"),
    ],
)
def test_comparisons_of_an_exception(exception: str, condition: str) -> None:
    """Blanks around them do not count, and both sides may have transformers."""
    result = load(exception)

    assert result.errors == ()
    assert [print_condition(rule.condition) for rule in result.rules] == [f"(evt.type = open and not {condition})"]


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        ('{name: e, fields: [proc.name], comps: ["  "], values: [[a]]}', "'' is not a supported comparison operator"),
        ('{name: e, fields: [proc.name], comps: [" oneof "], values: [[a]]}', "'oneof' is not a supported comparison"),
        ('{name: e, fields: [proc.pid], comps: [">=  oneof"], values: [[1]]}', "'>=  oneof' is not a supported"),
        ('{name: e, fields: proc.name, comps: " = ", values: [a]}', "comps must be one of (in, pmatch, intersects)"),
    ],
)
def test_a_comparison_that_does_not_exist(exception: str, message: str) -> None:
    """The message quotes it without the blanks around it."""
    (error,) = load(exception).errors

    assert error.code.name == "LOAD_ERR_VALIDATE"
    assert message in error.message
