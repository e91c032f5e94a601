import os
import socket
import time
from pathlib import Path

import pytest

from lanner.process.service import Watchdog, notify


def test_states_go_to_the_socket_that_systemd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 arrives as one datagram, by path and by abstract address."""
    for address, name in ((str(tmp_path / "notify"),) * 2, ("\0lanner-test", "@lanner-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            notify("READY=1")
            assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or closed socket is not an error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    notify("READY=1")


def test_the_watchdog_beats_at_half_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It notifies at half of WatchdogSec, and only for the process that systemd names."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        watchdog = Watchdog()
        for _ in range(3):
            watchdog.beat()
        assert systemd.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
        time.sleep(0.06)
        watchdog.beat()
        assert systemd.recv(100) == b"WATCHDOG=1"

        monkeypatch.setenv("WATCHDOG_PID", "1")
        Watchdog().beat()
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
