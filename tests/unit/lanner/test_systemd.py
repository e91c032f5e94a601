import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lanner.systemd import Watchdog, notify

UNIT = Path("deploy/systemd/lanner.service")


def test_states_go_to_the_socket_that_systemd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY=1 arrives as one datagram, by path and by abstract address."""
    for address, name in ((str(tmp_path / "notify"),) * 2, ("\0lanner-test", "@lanner-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            notify("READY=1")
            assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket named, or one that is gone: no error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    notify("READY=1")


def test_the_watchdog_beats_at_half_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Often enough for WatchdogSec and no oftener, and only for the process that is meant."""
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


@pytest.mark.skipif(
    "CI" not in os.environ and shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` ends with 0 on unknown keys, so any word on stderr counts."""
    program = Path(sys.executable).with_name("lanner")
    copy = tmp_path / "lanner.service"
    copy.write_text(UNIT.read_text().replace("/opt/lanner/.venv/bin/lanner", str(program)))

    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")

    offline = ["systemd-analyze", "security", "--offline=true", "--threshold=45", copy]
    assert subprocess.run(offline, capture_output=True, check=False).returncode == 0
