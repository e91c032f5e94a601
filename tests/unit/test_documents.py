"""What README and docs name is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "setup" / "links.py"
PAGES = sorted(page for pattern in ("*.md", "docs/**/*.md", "deploy/**/README.md") for page in ROOT.glob(pattern))


def check(*pages: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on pages, or on those that it checks by itself."""
    return subprocess.run([sys.executable, SCRIPT, *pages], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_file_that_a_page_names_is_there(page: Path) -> None:
    """Links include the heading behind the #; links to elsewhere are not followed."""
    assert check(page).stdout == ""


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_are_named_by_their_whole_paths(name: str) -> None:
    """So each exists, also those that the script takes for other words."""
    text = (ROOT / name).read_text().partition("\n## Code\n")[0]
    named = re.findall(r"`([\w.][\w./-]*(?:/|\.(?:avro|avsc|c|css|html|js|json|md|py|toml|txt|yaml|yml)))`", text)

    assert len(named) > 20
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_each_common_change_is_a_list_of_files() -> None:
    """With at least three steps, and documentation at the end."""
    changes = (ROOT / "CONTRIBUTING.md").read_text().partition("common changes\n")[2].partition("\n## Code\n")[0]
    titles = re.findall(r"^\*\*(.+)\*\*$", changes, re.MULTILINE)

    assert len(titles) == 13
    for text in re.split(r"^\*\*.+\*\*$", changes, flags=re.MULTILINE)[1:]:
        assert len(re.findall(r"^\d\. ", text, re.MULTILINE)) >= 3
        assert "docs/" in text


@pytest.mark.parametrize(
    ("prose", "mistake"),
    [
        ("See [the page](nowhere.md).", "nowhere.md doesn't exist"),
        ("See [the part](#nothing).", "#nothing: there is no such heading"),
        ("See [the part](#a-page-its-parts), and [elsewhere](https://example.org/nowhere.md#nothing).", ""),
        ("Read `docs/nowhere.md` or `docs/rules.md`.", "docs/nowhere.md doesn't exist"),
        ("```\n[code](nowhere.md)\n```", ""),
    ],
)
def test_a_mistake_is_found_with_its_line(prose: str, mistake: str, tmp_path: Path) -> None:
    """Code is not searched for links."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page: its parts\n\n{prose}\n")

    assert check(page).stdout == (f"{page}:3: {mistake}\n" if mistake else "")


def test_the_script_checks_the_same_pages_by_itself() -> None:
    """As `make lint` runs it."""
    done = check()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
