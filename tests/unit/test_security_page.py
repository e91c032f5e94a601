"""The statements of docs/security.md about who can do what are shown by tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_A_TEST = {"the authority's key"}
"""Nothing bounds what these can do."""
TEST = re.compile(r"`([\w/]+\.py)(?:::(test_\w+))?`")


def rows() -> dict[str, str]:
    """Return, for each row of the table, who it is about and the text of its last cell."""
    text = (ROOT / "docs/security.md").read_text()
    section = text.split("## Who can do what\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    assert {len(row) for row in cells} == {5}
    return {row[0].strip(): row[-1].strip() for row in cells[2:]}


@pytest.mark.parametrize("who", rows())
def test_every_row_names_tests_that_are_there(who: str) -> None:
    """Each by its file and its function, as pytest takes it; the folder is tests/cluster where none is named."""
    named = TEST.findall(rows()[who])
    assert bool(named) == (who not in WITHOUT_A_TEST)
    assert rows()[who] == ", ".join(f"`{path}::{name}`" if name else f"`{path}`" for path, name in named)
    for path, name in named:
        file = ROOT / "tests" / (path if "/" in path else f"cluster/{path}")
        assert file.exists(), path
        assert not name or f"\ndef {name}(" in file.read_text(), f"{path} has no {name}"
