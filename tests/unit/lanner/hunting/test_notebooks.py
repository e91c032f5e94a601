"""The notebooks of hunts run as scripts, on an archive."""

import os
import runpy
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.archive.files import open_folder
from lanner.archive.intake import Intake
from schemas.batch import EventBit, Process
from schemas.encoding.batch import encode_batch
from tests.unit.lanner.archive.test_intake import Received, value_of
from tests.unit.processor.batches import INIT, TIME, batch_of

NOTEBOOKS = sorted((Path(__file__).parents[4] / "docs/notebooks").glob("*.py"))
SHELL = Process(pid=7, name="bash", exe="bash", exepath="/usr/bin/bash", parent=0)
FOUND = {
    "rare_parents_of_shells": INIT.exepath,
    "persistence_files": "/etc/cron.d/job",
    "beacons": "203.0.113.9",
    "failed_logins": "sshd",
}
"""What some of them find."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an archive with a shell, a file for cron, failed logins and regular connections."""
    folder = tmp_path_factory.mktemp("archive")
    written = {"type": "openat", "fd_type": "file", "bits": int(EventBit.OPEN_WRITE), "res": 3}
    connected = {"type": "connect", "fd_type": "ipv4", "l4proto": "tcp", "bits": int(EventBit.HAS_ROLE), "process": 1}
    connected |= {"remote_ip": "203.0.113.9", "remote_port": 443}
    server = Process(pid=8, name="sshd", exe="sshd", exepath="/usr/sbin/sshd", parent=0)
    batch = batch_of(
        {"type": "execve", "res": 0, "process": 1},
        {**written, "process": 1, "fd_name": "/etc/cron.d/job"},
        *({**written, "process": 2, "fd_name": "/var/log/btmp"} for _ in range(12)),
        {**written, "process": 2, "fd_name": "/var/log/wtmp"},
        *({**connected, "time": TIME + minute * 60_000_000_000} for minute in range(30)),
        processes=[INIT, SHELL, server],
    )
    intake = Intake(open_folder(str(folder)), value_of, ignore_note, limit_bytes=1 << 30, flush_seconds=1e9)
    # No event is later than its message.
    intake.take("events", Received(encode_batch(batch), TIME // 1_000_000 + 30 * 60_000), 0.0)
    list(intake.store_all())
    return folder


@pytest.mark.filterwarnings("ignore:The archive begins")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_a_script(
    path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints a table of what it finds, and its cells of text have what is looked for, why and an id of ATT&CK."""
    monkeypatch.setitem(os.environ, "LANNER_ARCHIVE", str(archive))
    monkeypatch.setitem(os.environ, "LANNER_DAYS", "20000")
    runpy.run_path(str(path))
    shown = capsys.readouterr().out

    assert "│" in shown
    assert str(FOUND.get(path.stem, "")) in shown
    assert all(part in path.read_text() for part in ("**Looked for.**", "ATT&CK T1", "**Why.**", "**How to read it.**"))
