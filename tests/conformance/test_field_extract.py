"""The values of fields."""

from processor.compiler.transformers import as_text
from processor.fields.extract import extract, is_filled
from schemas.catalog.fields import resolve_field
from tests.conformance.cases import Case, count_left_out, each_case
from tests.conformance.falco_events import batch_of
from tests.conformance.parameters import plain


def _left_out(case: Case) -> str | None:
    if "incomplete" in case:
        return "it sets what no event says"
    found = resolve_field(case["field"])
    return None if found is None or is_filled(found[0].name) else "batches do not hold this field"


def test_only_so_many_cases_are_left_out() -> None:
    """The skipped cases are counted by reason, so that a change in the available fields is noticed."""
    counts = count_left_out("field_extract", _left_out)
    assert counts == {"it sets what no event says": 26, "batches do not hold this field": 13}


@each_case("field_extract", _left_out)
def test_a_field_has_the_value_that_it_has_in_falco(case: Case) -> None:
    """A field of a one-event batch has Falco's text, or is missing if Falco's is."""
    assert resolve_field(case["field"]) is not None

    value = extract(batch_of(case), 0, case["field"])

    if "expect" in case:
        assert ("<NA>" if value is None else as_text(value)) == plain(case["expect"])
    else:
        assert (value is not None) is case["expect_has_value"]
