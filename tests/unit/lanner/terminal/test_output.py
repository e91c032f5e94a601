import os
import subprocess
import sys
from pathlib import Path

import pytest

from lanner.terminal.output import error_line, note

PROGRAM = """
from lanner.terminal.output import error_line, note
note("plain")
note("disk is nearly full", "warning")
note("disk is full", "error")
error_line("disk is broken")
"""


def test_a_plain_line_begins_with_its_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the level that a caller passes counts, whatever the text begins with."""
    note("error: quoted")
    note("disk is nearly full", "warning")
    note("disk is full", "error")
    error_line("disk is broken")
    assert capsys.readouterr().err.splitlines() == [
        "error: quoted",
        "warning: disk is nearly full",
        "error: disk is full",
        "error: disk is broken",
    ]


def test_the_journal_gets_each_line_s_severity(tmp_path: Path) -> None:
    """So that `journalctl -p warning` shows what matters."""
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        status = os.fstat(file.fileno())
        environment = os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=file, check=True, timeout=60, env=environment)
    assert errors.read_text().splitlines() == [
        "<6>plain",
        "<4>warning: disk is nearly full",
        "<3>error: disk is full",
        "<3>error: disk is broken",
    ]
