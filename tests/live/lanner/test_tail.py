import json
import re
from pathlib import Path

import pytest

from tests.live.lanner.watching import Watching, eventually, touch_mark
from tests.unit.lanner.program import fresh as run_to_its_end

pytestmark = pytest.mark.live


def marked(tail: Watching, folder: Path, name: str, form: str = ".lanner-mark") -> str:
    """Touch marked files until a line shows one, and return it; nothing else shows that tailing has begun.

    Args:
        tail: the command.
        folder: where to touch files.
        name: the file's name, to which ".lanner-mark" is added.
        form: a regular expression for how its line looks.
    """

    def found() -> str:
        return next((line for line in list(tail.out.lines) if re.search(form, line)), "")

    def seen() -> bool:
        touch_mark(folder, name)
        return bool(found())

    eventually(seen, "no line told of the file")
    return found()


def test_each_event_is_one_safe_line(tmp_path: Path) -> None:
    """A file name with terminal escapes and a newline moves nothing and forges nothing."""
    with Watching("events", "tail", "--type", "openat", started="") as tail:
        line = marked(tail, tmp_path, "\x1b[2J\n")
        assert "\\x1b[2J\\n" in line
        assert "\x1b" not in tail.out.text
        assert " openat(" in line
        assert tail.end() == 0


def test_json_rows_are_what_programs_read(tmp_path: Path) -> None:
    """One object an event, with the names that rules use."""
    with Watching("events", "tail", "--type", "openat", "--format", "json", started="") as tail:
        # The rows of what the program opened before it have its name in the command line.
        row = json.loads(marked(tail, tmp_path, "x", r'"fd.name": ?"[^"]+\.lanner-mark'))
    assert row["evt.type"] == "openat"
    assert row["proc.pid"] > 1
    assert row["fd.name"].startswith(str(tmp_path))
    assert row["user.uid"] == 0


def test_an_unknown_event_type_is_bad_input() -> None:
    """With the list of those that there are."""
    done = run_to_its_end("events", "tail", "--type", "opnat")
    assert done.returncode == 1
    assert "openat" in done.stderr
