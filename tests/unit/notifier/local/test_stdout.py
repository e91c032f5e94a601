import io
import os
from pathlib import Path

import pytest

from notifier.local.stdout import StdoutSink, is_journal
from tests.unit.alerts import alert


def test_a_line_an_alert() -> None:
    """Plain, and flushed at once."""
    out = io.StringIO()
    StdoutSink(out, lambda one: one.output).send(alert(output="x"))
    assert out.getvalue() == "x\n"


def test_levels_stand_in_front_for_the_journal() -> None:
    """`journalctl -p warning` works by them."""
    out = io.StringIO()
    sink = StdoutSink(out, lambda one: one.output, levels=True)
    for priority in ("Emergency", "Warning", "Informational"):
        sink.send(alert(output="x", priority=priority))
    assert out.getvalue() == "<0>x\n<4>x\n<6>x\n"


def test_a_closed_pipe_ends_it() -> None:
    """The one trouble that is not for the sink to swallow."""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "w") as out:
        StdoutSink(out, lambda one: one.output).send(alert())


def test_the_journal_is_told_by_device_and_inode(tmp_path: Path) -> None:
    """Redirected to a file, standard output is not the journal though the variable is set."""
    with (tmp_path / "a").open("w") as one, (tmp_path / "b").open("w") as other:
        status = os.fstat(one.fileno())
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(one.fileno(), environment)
        assert not is_journal(other.fileno(), environment)
        assert not is_journal(one.fileno(), {})
    assert not is_journal(9999, environment)
