"""Report links in documentation whose file or heading doesn't exist, and names of files that don't.

Usage: links.py [FILE...]

Without arguments it checks the pages that `CHECKED` names. Links to other sites are not followed. Exits with 1 if it
reports anything.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKED = ("*.md", "docs/**/*.md", "deploy/**/README.md")
"""Patterns of the pages to check."""
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAMED = re.compile(
    r"`((?:tests|docs|deploy|bench|foundation|processor|collector|notifier|schemas|bus|lanner|rules)/[\w./@-]*[\w/])`"
)
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


def find(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and a description of each mistake on a page."""
    text = page.read_text()
    # Newlines of code stay, so that line numbers are right.
    prose = _BLOCK.sub(lambda found: "\n" * found[0].count("\n"), text)
    for found in _LINK.finditer(prose):
        path, _, anchor = found[1].partition("#")
        if "://" in found[1]:
            continue
        target = page.parent / path if path else page
        if not target.exists():
            yield _line(found), f"{found[1]} doesn't exist"
        elif anchor and anchor not in anchors(target):
            yield _line(found), f"{found[1]}: there is no such heading"
    for found in _NAMED.finditer(text):
        if not (ROOT / found[1]).exists():
            yield _line(found), f"{found[1]} doesn't exist"


def _line(found: re.Match[str]) -> int:
    return 1 + found.string.count("\n", 0, found.start())


def main(names: list[str]) -> int:
    """Print each mistake; return the exit status."""
    pages = [Path(name).resolve() for name in names] or sorted(page for each in CHECKED for page in ROOT.glob(each))
    status = 0
    for page in pages:
        for line, mistake in sorted(find(page)):
            print(f"{page}:{line}: {mistake}")  # noqa: T201
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
