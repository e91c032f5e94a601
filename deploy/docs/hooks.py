"""Hooks of MkDocs: pages that are stored outside docs/ or made from the rules, and links to files that aren't pages.

The site has the pages of docs/, those of `ELSEWHERE`, and one for each rule in triage/. A link to any other file of the
repository becomes the file's path, because the site doesn't have that file. Links to pages work in the repository and
on the site alike.
"""

import os
import re
from functools import cache
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from lanner.ruleset.triage import page_name, triage_page, triage_table
from processor.loading import LoadResult, load_rules, read_rule_files

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "changelog.md": ROOT / "CHANGELOG.md",
    "compose.md": ROOT / "deploy/compose/README.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "helm.md": ROOT / "deploy/helm/lanner/README.md",
    "vulnerabilities.md": ROOT / "SECURITY.md",
}
"""Pages of the site by name, with their files."""
_DOCS = ROOT / "docs"
_NAMES = {path: name for name, path in ELSEWHERE.items()}
_LINK = re.compile(r"\[((?:`[^`]*`|[^\[\]`])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


@cache
def _rules() -> LoadResult:
    return load_rules(read_rule_files([ROOT / "rules", ROOT / "rules" / "kubernetes"]))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the rules to the navigation, in the order of the rules."""
    groups = [
        group for section in config.nav or [] for group in next(iter(section.values())) if isinstance(group, dict)
    ]
    pages = next(group["Triage"] for group in groups if "Triage" in group)
    pages += [f"triage/{page_name(rule.name)}" for rule in _rules().rules]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are stored elsewhere, and those of the rules."""
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for rule in _rules().rules:
        page = triage_page(rule, _rules())
        files.append(File.generated(config, f"triage/{page_name(rule.name)}", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # by MkDocs
    """Point links at pages of the site, and replace links to other files by their paths; list the rules in triage."""
    source = Path(page.file.abs_src_path or _DOCS / page.file.src_uri)
    if page.file.src_uri == "triage.md":
        markdown += f"\n## Rules\n\n{triage_table(_rules())}"
    return _LINK.sub(lambda found: _on_the_site(found, source, page.file.src_uri), markdown)


def _on_the_site(found: re.Match[str], source: Path, uri: str) -> str:
    text, link, anchor = found[1], found[2], found[3] or ""
    target = Path(os.path.normpath(source.parent / link))
    if "://" in link or not target.exists() or not target.is_relative_to(ROOT):
        return found[0]  # MkDocs reports what doesn't exist
    if target in _NAMES:
        name = _NAMES[target]
    elif target.suffix == ".md" and target.is_relative_to(_DOCS):
        name = str(target.relative_to(_DOCS))
    else:
        path = str(target.relative_to(ROOT))
        return text if path in text else f"{text} (`{path}`)"
    return f"[{text}]({os.path.relpath(name, Path(uri).parent)}{anchor})"
