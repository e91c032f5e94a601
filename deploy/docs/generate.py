"""Write the generated page of docs/ again: fields.md, from the catalog."""

from pathlib import Path

from lanner.commands.fields import field_page

(Path(__file__).resolve().parents[2] / "docs" / "fields.md").write_text(field_page())
