"""Hooks of MkDocs: pages of the site that are stored outside docs/, and links to files that aren't pages.

The site has the pages of docs/, and those of `ELSEWHERE`. A link to any other file of the repository becomes the file's
path, because the site doesn't hold that file. Links to pages work in the repository and on the site alike.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "changelog.md": ROOT / "CHANGELOG.md",
    "compose.md": ROOT / "deploy/compose/README.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "helm.md": ROOT / "deploy/helm/lanner/README.md",
    "vulnerabilities.md": ROOT / "SECURITY.md",
}
"""Pages of the site by name, with the files that hold them."""
_DOCS = ROOT / "docs"
_NAMES = {path: name for name, path in ELSEWHERE.items()}
_LINK = re.compile(r"\[((?:`[^`]*`|[^\[\]`])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are stored elsewhere."""
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # by MkDocs
    """Point links at pages of the site, and replace links to other files by their paths."""
    source = Path(str(page.file.abs_src_path))
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
