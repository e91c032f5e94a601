import json

import pytest

from processor.fields.availability import CAVEATS, WHY_NOT, source_of
from schemas.catalog.fields import FIELDS, resolve_field
from tests.reference import needs, shared_dir

USED = shared_dir() / "conformance" / "fields_used.json"


def test_each_field_has_a_value_or_a_reason_why_not() -> None:
    """No field has both."""
    assert {name for name, spec in FIELDS.items() if source_of(spec) == "none"} == set(WHY_NOT)


def test_remarks_are_about_fields_that_there_are() -> None:
    """A misspelled name would have no effect."""
    assert CAVEATS.keys() <= FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_described(name: str) -> None:
    """A remark is one line that fits in a table."""
    text = FIELDS[name].description

    assert text
    assert "\n" not in text
    assert not text.endswith(".")


@needs(USED)
def test_every_field_that_upstream_rules_use_is_filled_live() -> None:
    """Well-known rules must not be silent because a field has no value."""
    used = [row["name"] for row in json.loads(USED.read_text())["fields"]]
    found = {name: resolve_field(name) or resolve_field(f"{name}[1]") for name in used}

    assert [name for name, field in found.items() if field is None or source_of(field[0]) != "live"] == []
