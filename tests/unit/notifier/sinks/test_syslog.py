import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier.formats.falco import LineStyle, line_of
from notifier.sink import Delivered, RetryLater, RoutedAlert
from notifier.sinks.lines import MAX_BYTES, SyslogSink
from tests.unit.alerts import alert

TEXT = line_of(LineStyle())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as a syslog daemon does on /dev/log."""
    with listening(tmp_path / "log") as bound:
        yield bound


def listening(path: Path) -> socket.socket:
    """Return a bound datagram socket with a timeout."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(str(path))
    bound.settimeout(5)
    return bound


def test_a_datagram_is_priority_time_tag_and_line(daemon: socket.socket, tmp_path: Path) -> None:
    """Facility local0, severity by the priority's name, day padded with a blank."""
    sink = SyslogSink(str(tmp_path / "log"), TEXT)
    for priority, number in (("Emergency", 128), ("Warning", 132), ("Informational", 134), ("Debug", 135)):
        sink.send([RoutedAlert(alert(priority=priority))])
        received = daemon.recv(10_000).decode()
        pattern = rf"<{number}>[A-Z][a-z]{{2}} [ 123]\d \d\d:\d\d:\d\d lanner\[{os.getpid()}\]: .*{priority} A file"
        assert re.match(pattern, received)


def test_a_file_name_with_a_newline_forges_no_second_message(daemon: socket.socket, tmp_path: Path) -> None:
    """One alert is one line."""
    SyslogSink(str(tmp_path / "log"), TEXT).send([RoutedAlert(alert(output="x\n<0>forged"))])
    assert b"\n" not in daemon.recv(10_000)


def test_a_long_line_is_cut_at_a_whole_character(daemon: socket.socket, tmp_path: Path) -> None:
    """Daemons drop or split longer lines."""
    SyslogSink(str(tmp_path / "log"), TEXT).send([RoutedAlert(alert(output="ä" * MAX_BYTES))])
    received = daemon.recv(100_000)
    assert len(received) <= MAX_BYTES
    assert received.decode().endswith("ä...")


def test_a_daemon_that_restarts_loses_no_later_alert(tmp_path: Path) -> None:
    """A new socket at the same path is used for the next alert."""
    path = tmp_path / "log"
    first = listening(path)
    sink = SyslogSink(str(path), TEXT)
    assert sink.send([RoutedAlert(alert())]) == Delivered()
    first.close()
    path.unlink()

    with listening(path) as second:
        assert sink.send([RoutedAlert(alert(output="after"))]) == Delivered()
        assert b"after" in second.recv(10_000)


def test_without_a_daemon_an_alert_is_not_delivered(tmp_path: Path) -> None:
    """Once the daemon runs, reopening connects at once."""
    path = tmp_path / "log"
    sink = SyslogSink(str(path), TEXT)
    first, second = (sink.send([RoutedAlert(alert())]) for _ in range(2))
    assert first == RetryLater(f"{path}: No such file or directory")
    assert second == RetryLater(f"{path}: no syslog daemon listens there")

    with listening(path) as daemon:
        sink.reopen()
        assert sink.send([RoutedAlert(alert(output="back"))]) == Delivered()
        assert b"back" in daemon.recv(10_000)


def test_a_daemon_that_hangs_does_not_block(daemon: socket.socket, tmp_path: Path) -> None:
    """When its queue is full, send returns at once and reports it."""
    sink = SyslogSink(str(tmp_path / "log"), TEXT)
    outcomes = {sink.send([RoutedAlert(alert())]) for _ in range(2000)}
    assert outcomes == {Delivered(), RetryLater(f"{tmp_path}/log: the syslog daemon's queue is full")}
    assert daemon.recv(10_000)
