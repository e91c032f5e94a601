import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, logging, sys
from lanner.logs import log_through_structlog
from lanner.settings import Settings
from lanner.terminal import error_line, note
log_through_structlog(Settings(log_format=sys.argv[1], log_level=sys.argv[2]), "processor")
note("plain")
note("warning: told to beware")
error_line("it is wrong\\x1b[2J \\u202e\\udcff" + "x" * 9999)
logging.getLogger("urllib3").error("https://hooks.example/SECRET")
logging.getLogger("librdkafka").info("client talk")
"""


def logged(form: str, level: str = "info") -> str:
    """Give what a service so set writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, form, level], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stdout
    return done.stderr


def test_json_is_an_object_a_line() -> None:
    """With time, level, stage and text; a level that the text names is the entry's."""
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
    """Control characters and marks of direction are shown, not sent."""
    text = logged("console")
    assert "plain" in text
    assert "it is wrong\\x1b[2J \\u202e\\xff" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("level", "expected"), [("error", 1), ("warning", 2), ("info", 3), ("debug", 4)])
def test_the_level_is_kept(level: str, expected: int) -> None:
    """The broker's client speaks at debug only; libraries that may log secrets never do."""
    text = logged("json", level)
    assert len(text.splitlines()) == expected
    assert "SECRET" not in text
    assert ("client talk" in text) == (level == "debug")
