"""Warnings about comparisons with <NA> and deprecated fields."""

import pytest

from processor.language.ast import checks
from processor.language.parser import parse
from processor.loading.condition_checks import warnings_of


def codes(condition: str) -> list[str]:
    """Return the codes of a condition's warnings."""
    return [code.name for check in checks(parse(condition)) for code, *_ in warnings_of(check)]


@pytest.mark.parametrize(
    "condition",
    [
        *(f"ka.x {operator} <NA>" for operator in ("=", "==", "!=")),
        *(f"jevt.x {operator} (a, <NA>)" for operator in ("in", "intersects", "pmatch")),
        "tolower(ka.x) = <NA>",
        "concat(proc.name, ka.x) = <NA>",
    ],
)
def test_a_comparison_of_an_audit_field_with_na(condition: str) -> None:
    """The last field of transformers counts."""
    assert codes(condition) == ["LOAD_UNSAFE_NA_CHECK"]


@pytest.mark.parametrize(
    "condition",
    [
        "ka.x exists",
        "ka.x contains <NA>",
        "some.x = <NA>",
        "tolower(some.x) = <NA>",
        "concat(ka.x, some.x) = <NA>",
        'join(",", (ka.x, some.x)) = <NA>',
    ],
)
def test_a_comparison_that_may_mean_what_it_states(condition: str) -> None:
    """Other fields, and other operators, may have this very text."""
    assert codes(condition) == []


def test_a_deprecated_field_within_a_transformer() -> None:
    """Each gives one warning."""
    assert codes("evt.dir = < and toupper(evt.latency.human) = x") == ["LOAD_DEPRECATED_ITEM"] * 2
