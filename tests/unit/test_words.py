"""The word list finds what it lists, in prose alone. deploy/setup/lint.sh checks the documentation."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "setup" / "words.py"


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on files."""
    return subprocess.run([sys.executable, SCRIPT, *files], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("prose", "word"),
    [
        ("An event is judged by all rules.", "judged"),
        ("The log tells why.", "tells"),
        ("The rules in\nforce.", "in force"),
        ("What happened round an alert.", "round"),
        ("Repeat it for five rounds, or round 1.5 up.", ""),
        ("A dead letter is not dropped.", ""),
        ("The letter is dropped.", "letter"),
        ("Of a page the first line counts. Of course.", "Of"),
        ("It acts as a filter for real acts.", "acts"),
        ("Apache licence", "licence"),
        ("A whole number of analyses", "whole number"),
    ],
)
def test_a_word_on_the_list_is_found_with_its_line(prose: str, word: str, tmp_path: Path) -> None:
    """Once, also across a line break; similar plain English passes."""
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{prose}\n")

    found = check(page).stdout

    assert found.startswith(f"{page}:3: '{word}': write: ") if word else found == ""
    assert found.count("\n") == bool(word)


def test_code_and_targets_of_links_are_not_prose(tmp_path: Path) -> None:
    """Names that other pages or programs define have to stay."""
    page = tmp_path / "page.md"
    page.write_text("""# Page

    say --kept judge

```sh
say --kept
```

Set `keep.kept` as in [this page](kept.md#told).
""")

    assert check(page).stdout == ""


def test_docstrings_and_comments_of_python_are_prose(tmp_path: Path) -> None:
    """Names and other strings are not; "Give" is found only where it begins a docstring."""
    file = tmp_path / "module.py"
    file.write_text('''"""Return things."""

judged = "told"  # what was said


def give() -> str:
    """Give what `kept` is.

    They give it back.
    """
    return judged
''')

    assert check(file).stdout.splitlines() == [
        f"{file}:3: 'said': write: report, state, mean, message",
        f"{file}:7: 'Give': write: imperative: Return, Yield, Print, Make",
    ]


def test_comments_annotations_and_titles_of_other_files_are_prose(tmp_path: Path) -> None:
    """What programs read is not."""
    script, alerts, dashboard = tmp_path / "run.sh", tmp_path / "rules.yml", tmp_path / "panels.json"
    script.write_text("#!/bin/sh\nsay told  # what was kept\n")
    alerts.write_text("- alert: Kept\n  annotations:\n    summary: '{{ $value }} were kept.'\n")
    dashboard.write_text('{"expr": "kept",\n "title": "Kept"}\n')

    for file, line in ((script, 2), (alerts, 3), (dashboard, 2)):
        assert [row.split(":")[1] for row in check(file).stdout.splitlines()] == [str(line)], file
