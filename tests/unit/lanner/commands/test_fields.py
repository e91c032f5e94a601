import json
from pathlib import Path

from lanner.commands.fields import field_page
from schemas.catalog.fields import FIELDS
from tests.unit.lanner.program import lanner

PAGE = Path(__file__).parents[4] / "docs" / "fields.md"


def test_the_page_in_docs_is_current() -> None:
    """`make docs` regenerates it."""
    assert PAGE.read_text() == field_page()


def test_the_page_has_each_field_once() -> None:
    """With type, availability and description."""
    rows = [line for line in field_page().splitlines() if line.startswith("| `")]

    assert len(rows) == len(FIELDS)
    assert "| `fd.name` | charbuf | yes |" in field_page()
    assert "| `proc.vmsize` | uint64 | no |" in field_page()


def test_programs_get_the_same_facts() -> None:
    """With the reason why a field has no value."""
    reported = {row["name"]: row for row in json.loads(lanner("fields", "--format", "json").stdout)}

    assert reported.keys() == FIELDS.keys()
    assert (reported["fd.name"]["filled"], reported["fd.types"]["filled"]) == ("live", "none")
    assert reported["fd.types"]["remark"].startswith("there is no table of all descriptors")


def test_fields_of_the_settings_are_listed(tmp_path: Path) -> None:
    """With the type and the description that their mapping file has."""
    mapping = tmp_path / "shop.yaml"
    mapping.write_text("source: shop\nfields: {shop.sum: {at: /sum, type: integer, description: What was paid}}\n")

    done = lanner("fields", "shop.", "-o", f"json_sources=[{{mapping: {mapping}}}]")

    assert done.stdout.splitlines()[1].split(maxsplit=2) == ["shop.sum", "uint64", "What was paid"]
