"""What each field says of an event."""

import pytest

from processor.compiler.transformers import as_text
from schemas.catalogue import resolve_field
from schemas.extract import extract, is_filled
from tests.conformance.cases import Case, each_case
from tests.conformance.falco_events import batch_of
from tests.conformance.parameters import plain


@each_case("field_extract")
def test_a_field_says_what_it_says_in_falco(case: Case) -> None:
    """A field of a one-event batch gives Falco's text, or is missing where Falco's is."""
    if "incomplete" in case:
        pytest.skip("the case sets what no event says")
    found = resolve_field(case["field"])
    assert found is not None
    if not is_filled(found[0].name):
        pytest.skip("batches do not hold this field")

    value = extract(batch_of(case), 0, case["field"])

    if "expect" in case:
        assert ("<NA>" if value is None else as_text(value)) == plain(case["expect"])
    else:
        assert (value is not None) is case["expect_has_value"]
