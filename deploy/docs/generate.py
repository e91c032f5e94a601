"""Write the generated pages of docs/ again: fields.md from the catalog, triage/ from the rules."""

from pathlib import Path

from lanner.commands.fields import field_page
from lanner.ruleset.triage import triage_pages
from processor.loading import load_rules, read_rule_files

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TRIAGE = DOCS / "triage"

(DOCS / "fields.md").write_text(field_page())
TRIAGE.mkdir(exist_ok=True)
for page in TRIAGE.glob("*.md"):
    page.unlink()
for name, text in triage_pages(load_rules(read_rule_files([ROOT / "rules", ROOT / "rules" / "kubernetes"]))).items():
    (TRIAGE / name).write_text(text)
