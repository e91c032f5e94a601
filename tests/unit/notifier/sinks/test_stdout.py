import io
import os
from pathlib import Path

import pytest

from notifier.sink import RetryLater, RoutedAlert
from notifier.sinks.lines import StdoutSink, is_journal
from tests.unit.alerts import alert


def test_each_alert_is_one_line() -> None:
    """It is plain text, and flushed."""
    out = io.StringIO()
    StdoutSink(out, lambda one: one.output).send([RoutedAlert(alert(output="x"))])
    assert out.getvalue() == "x\n"


def test_lines_for_the_journal_begin_with_a_level() -> None:
    """`journalctl -p warning` depends on it."""
    out = io.StringIO()
    sink = StdoutSink(out, lambda one: one.output, levels=True)
    for priority in ("Emergency", "Warning", "Informational"):
        sink.send([RoutedAlert(alert(output="x", priority=priority))])
    assert out.getvalue() == "<0>x\n<4>x\n<6>x\n"


def test_a_closed_pipe_ends_the_program_that_requires_it() -> None:
    """As it ends any program in a pipe; a notifier retries instead."""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "w") as out:
        StdoutSink(out, lambda one: one.output, ends_program=True).send([RoutedAlert(alert())])


def test_a_closed_pipe_is_a_reason_to_retry() -> None:
    """Another program may read standard output of a notifier later."""
    reader, writer = os.pipe()
    os.close(reader)
    out = os.fdopen(writer, "w")
    try:
        outcome = StdoutSink(out, lambda one: one.output).send([RoutedAlert(alert())])
        assert outcome == RetryLater("the reader of standard output is gone")
    finally:
        with pytest.raises(BrokenPipeError):
            out.close()


def test_the_journal_is_recognized_by_device_and_inode(tmp_path: Path) -> None:
    """Standard output redirected to a file is not the journal, although the variable is set."""
    with (tmp_path / "a").open("w") as one, (tmp_path / "b").open("w") as other:
        status = os.fstat(one.fileno())
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(one.fileno(), environment)
        assert not is_journal(other.fileno(), environment)
        assert not is_journal(one.fileno(), {})
    assert not is_journal(9999, environment)
