"""Conditions on the events of Falco's unit tests."""

from typing import Any

from processor.compiler.batch import compile_rules
from processor.compiler.checks import errors
from processor.compiler.mapping import compile_mapping
from processor.fields.extract import is_filled
from processor.language.parser import parse
from tests.conformance.cases import Case, count_left_out, each_case
from tests.conformance.falco_events import batch_of
from tests.conformance.parameters import plain


def _no_fault(_index: int, problem: BaseException) -> None:
    raise AssertionError(problem)


def _fields_not_given(case: Case) -> str | None:
    return "it does not give the fields; the next test makes the event" if "fields_not_derived" in case else None


def _no_event(case: Case) -> str | None:
    if "code" not in case["event"]:
        return "it is made of fields that no event has together"
    if "fd.types" in case["filter"] and not is_filled("fd.types"):
        return "batches hold no table of all descriptors"
    return None


def test_only_so_many_cases_are_left_out() -> None:
    """The skipped cases of both tests are counted by reason."""
    given = count_left_out("filter_eval", _fields_not_given)
    made = count_left_out("filter_eval", _no_event)
    assert given == {"it does not give the fields; the next test makes the event": 11}
    assert made == {
        "it is made of fields that no event has together": 16,
        "batches hold no table of all descriptors": 3,
    }


@each_case("filter_eval", _fields_not_given)
def test_a_condition_on_given_fields_is_as_in_falco(case: Case) -> None:
    """The mapping binding agrees with Falco if the case contains the fields."""
    fields: dict[str, Any] = {name: plain(value) for name, value in case["event"]["fields"].items()}
    condition = parse(case["filter"])

    assert errors(condition) == []
    assert compile_mapping(condition)(fields) is case["expect"]


@each_case("filter_eval", _no_event)
def test_a_condition_on_a_batch_is_as_in_falco(case: Case) -> None:
    """The batch binding agrees with Falco on the event made from the case's parameters."""
    condition = parse(case["filter"])
    batch = batch_of(case)
    matcher = compile_rules([condition]).matchers.get(case["event"]["evt.type"])

    assert (bool(matcher.bind(batch, _no_fault)(0)) if matcher is not None else False) is case["expect"]
