"""Conditions on the events of Falco's unit tests."""

from typing import Any

import pytest

from processor.compiler.batch import compile_rules
from processor.compiler.checks import errors
from processor.compiler.mapping import compile_mapping
from processor.language.parser import parse
from schemas.extract import is_filled
from tests.conformance.cases import Case, each_case
from tests.conformance.falco_events import batch_of
from tests.conformance.parameters import plain


def _no_fault(_place: int, problem: BaseException) -> None:
    raise AssertionError(problem)


@each_case("filter_eval")
def test_a_condition_on_given_fields_is_as_in_falco(case: Case) -> None:
    """The mapping binding judges as Falco does where the case gives the fields."""
    if "fields_not_derived" in case:
        pytest.skip("the case does not give the fields; the next test makes the event")
    fields: dict[str, Any] = {name: plain(value) for name, value in case["event"]["fields"].items()}
    condition = parse(case["filter"])

    assert errors(condition) == []
    assert compile_mapping(condition)(fields) is case["expect"]


@each_case("filter_eval")
def test_a_condition_on_a_batch_is_as_in_falco(case: Case) -> None:
    """The batch binding judges as Falco does on the event made from the case's parameters."""
    condition = parse(case["filter"])
    if "code" not in case["event"]:
        pytest.skip("the event is made of fields that no event has together")
    if "fd.types" in case["filter"]:
        assert not is_filled("fd.types")
        pytest.skip("batches hold no table of all descriptors")
    batch = batch_of(case)
    matcher = compile_rules([condition]).matchers.get(case["event"]["evt.type"])

    assert (bool(matcher.bind(batch, _no_fault)(0)) if matcher is not None else False) is case["expect"]
