import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, logging, sys
from lanner.terminal.logs import log_to_stderr
from lanner.terminal.output import error_line, note
log_to_stderr(sys.argv[2], sys.argv[1], "processor")
note("plain")
note("told to beware", "warning")
error_line("it is wrong\\x1b[2J \\u202e\\udcff" + "x" * 9999)
logging.getLogger("urllib3").error("https://hooks.example/SECRET")
logging.getLogger("librdkafka").info("client talk")
"""


def logged(form: str, level: str = "info") -> str:
    """Return what a configured service writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, form, level], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stdout
    return done.stderr


def test_json_is_an_object_a_line() -> None:
    """With time, level, stage and text."""
    entries = [json.loads(line) for line in logged("json").splitlines()]
    assert [(entry["level"], entry["event"][:14]) for entry in entries] == [
        ("info", "plain"),
        ("warning", "told to beware"),
        ("error", "it is wrong\\x1"),
    ]
    assert {entry["stage"] for entry in entries} == {"processor"}
    assert all(entry["timestamp"].endswith("Z") for entry in entries)
    assert len(entries[2]["event"]) == 4000


def test_hostile_text_is_harmless_on_a_terminal() -> None:
    """Control characters and direction marks are escaped."""
    text = logged("console")
    assert "plain" in text
    assert "it is wrong\\x1b[2J \\u202e\\xff" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("level", "expected"), [("error", 1), ("warning", 2), ("info", 3), ("debug", 4)])
def test_the_level_is_retained(level: str, expected: int) -> None:
    """The Kafka client logs only at debug; libraries that may log secrets never do."""
    text = logged("json", level)
    assert len(text.splitlines()) == expected
    assert "SECRET" not in text
    assert ("client talk" in text) == (level == "debug")


FORGING = """
import sys
from lanner.terminal.output import error_line, note
if sys.argv[1] != "plain":
    from lanner.terminal.logs import log_to_stderr
    log_to_stderr("info", sys.argv[1], "processor")
for say in (note, error_line):
    say("waits for host web\\n2026-11-25T10:00:00Z [error] rules refused\\r\\n<3>error: forged\\x1b[2J.")
"""


@pytest.mark.parametrize("form", ["plain", "console", "json"])
@pytest.mark.parametrize("journal", [False, True])
def test_a_line_break_in_a_hosts_name_makes_no_entry_of_its_own(form: str, journal: bool, tmp_path: Path) -> None:
    """Continuation lines are indented, in the journal too, and nothing moves the cursor."""
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        status = os.fstat(file.fileno())
        variables = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"} if journal else {}
        command = [sys.executable, "-c", FORGING, form]
        subprocess.run(command, stderr=file, check=True, timeout=60, env=os.environ | variables)
    text = errors.read_text()
    assert "\x1b" not in text
    assert "\r" not in text
    lines = text.splitlines()
    if form == "json":
        assert [json.loads(line)["level"] for line in lines] == ["info", "error"]
        return
    assert len(lines) == 6
    for line in (*lines[1:3], *lines[4:]):
        assert re.match(r"(<\d>)?    ", line), text


COLOURED = """
import logging, sys
from lanner.terminal.logs import log_to_stderr
sys.stderr = open(int(sys.argv[1]), "w")
log_to_stderr("info", "console", "processor")
logging.getLogger("lanner").warning("beware")
"""


def test_a_terminal_gets_colors() -> None:
    """The level, the text and the logger are told apart by color; nothing else changes."""
    ours, theirs = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "JOURNAL_STREAM")}
    command = [sys.executable, "-c", COLOURED, str(theirs)]
    subprocess.run(command, check=True, timeout=60, pass_fds=[theirs], env=environment | {"TERM": "xterm"})
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "[\x1b[1;33mwarning\x1b[0m]" in text
    assert re.sub(r"\x1b\[[\d;]*m", "", text).split(" ", 1)[1] == "[warning] beware [lanner]\r\n"


def test_logging_loads_no_library_for_tables() -> None:
    """A service prints no table, and rich would take 4 MiB of it."""
    program = "import sys, lanner.terminal.logs; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
