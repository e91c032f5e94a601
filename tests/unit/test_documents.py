"""What README and docs name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for pattern in ("*.md", "docs/**/*.md", "deploy/compose/*.md") for page in ROOT.glob(pattern))
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(
    r"`((?:tests|docs|deploy|bench|processor|collector|notifier|schemas|bus|lanner|rules)/[\w./@-]*[\w/])`"
)
BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_file_that_a_page_names_is_there(page: Path) -> None:
    """Links include the heading behind the #; links to elsewhere are not followed."""
    text = page.read_text()
    wrong = []
    for link in LINK.findall(BLOCK.sub("", text)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    wrong += [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    assert wrong == []
