import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier.formats.text import LineStyle, line_of
from notifier.local.syslog import MAX_BYTES, SyslogSink
from tests.unit.alerts import alert

TEXT = line_of(LineStyle())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as a syslog daemon does on /dev/log."""
    with listening(tmp_path / "log") as bound:
        yield bound


def listening(path: Path) -> socket.socket:
    """Bind a datagram socket that gives up after a while."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(str(path))
    bound.settimeout(5)
    return bound


def test_a_datagram_is_priority_time_tag_and_line(daemon: socket.socket, tmp_path: Path) -> None:
    """Facility local0, severity by the priority's name, day padded by a blank."""
    sink = SyslogSink(str(tmp_path / "log"), TEXT, on_trouble=pytest.fail)
    for priority, number in (("Emergency", 128), ("Warning", 132), ("Informational", 134), ("Debug", 135)):
        sink.send(alert(priority=priority))
        told = daemon.recv(10_000).decode()
        pattern = rf"<{number}>[A-Z][a-z]{{2}} [ 123]\d \d\d:\d\d:\d\d lanner\[{os.getpid()}\]: .*{priority} A file"
        assert re.match(pattern, told)


def test_a_file_name_with_a_newline_forges_no_second_message(daemon: socket.socket, tmp_path: Path) -> None:
    """One alert, one line."""
    SyslogSink(str(tmp_path / "log"), TEXT, on_trouble=pytest.fail).send(alert(output="x\n<0>forged"))
    assert b"\n" not in daemon.recv(10_000)


def test_a_long_line_is_cut_at_a_whole_character(daemon: socket.socket, tmp_path: Path) -> None:
    """Daemons drop or split what is too long; the facts in front matter most."""
    SyslogSink(str(tmp_path / "log"), TEXT, on_trouble=pytest.fail).send(alert(output="ä" * MAX_BYTES))
    told = daemon.recv(100_000)
    assert len(told) <= MAX_BYTES
    assert told.decode().endswith("ä...")


def test_a_daemon_that_restarts_loses_nothing_that_comes_after(tmp_path: Path) -> None:
    """A new socket under the old name is found with the next alert."""
    path = tmp_path / "log"
    first = listening(path)
    sink = SyslogSink(str(path), TEXT, on_trouble=pytest.fail)
    sink.send(alert())
    first.close()
    path.unlink()

    with listening(path) as second:
        sink.send(alert(output="after"))
        assert b"after" in second.recv(10_000)
    assert (sink.tally.sent, sink.tally.failed) == (2, 0)


def test_without_a_daemon_alerts_are_counted_and_it_is_told_once(tmp_path: Path) -> None:
    """And once more when the daemon is there."""
    told: list[str] = []
    path = tmp_path / "log"
    sink = SyslogSink(str(path), TEXT, on_trouble=told.append)
    for _ in range(3):
        sink.send(alert())
    assert (sink.tally.sent, sink.tally.failed) == (0, 3)
    assert len(told) == 1

    with listening(path) as daemon:
        sink.reopen()
        sink.send(alert(output="back"))
        assert b"back" in daemon.recv(10_000)
    assert told[1] == f"{path}: takes alerts again; 3 so far were lost."


def test_a_daemon_that_hangs_does_not_hold_up_detection(daemon: socket.socket, tmp_path: Path) -> None:
    """When its queue is full, alerts are counted as lost and send returns at once."""
    told: list[str] = []
    sink = SyslogSink(str(tmp_path / "log"), TEXT, on_trouble=told.append)
    for _ in range(2000):
        sink.send(alert())
    assert sink.tally.failed > 0
    assert sink.tally.sent + sink.tally.failed == 2000
    assert len(told) == 1
    assert daemon.recv(10_000)
