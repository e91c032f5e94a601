"""An archive in an S3-compatible store: a real server on loopback, versitygw."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.archive.files import open_folder
from lanner.archive.intake import Intake, Overtaken
from lanner.archive.store import ArchiveStore
from lanner.archive.storing import positions
from lanner.archive.upkeep import Upkeep
from lanner.recorder.store import EventRange
from tests.ports import free_ports
from tests.unit.lanner.archive.test_intake import messages, value_of
from tests.unit.lanner.archive.test_upkeep import LATER

SECONDS = 20.0


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a server with a bucket in a folder."""
    (port,) = free_ports(1)
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    for name, value in (("ACCESS_KEY_ID", "lanner"), ("SECRET_ACCESS_KEY", "made-up-secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = subprocess.Popen(
        [
            os.environ["LANNER_VERSITYGW"],
            "--port",
            f"127.0.0.1:{port}",
            "--access",
            "lanner",
            "--secret",
            "made-up-secret",
            "posix",
            tmp_path / "store",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def test_messages_are_stored_once_merged_and_read_from_a_bucket(endpoint: str) -> None:
    """As in a folder."""
    files = open_folder("s3://bucket/fleet", endpoint)
    taking, other = (Intake(files, value_of, ignore_note, limit_bytes=1 << 20, flush_seconds=60.0) for _ in range(2))
    for message in messages(4):
        taking.take("events", message, 0.0)
        if message.offset() % 2:
            list(taking.store_all())
    other.take("events", messages(1)[0], 0.0)
    with pytest.raises(Overtaken):
        list(other.store_all())

    def sequences() -> list[int]:
        store = ArchiveStore(files, ignore_note)
        return [each.batch.sequence for each in store.batches(EventRange(0), lambda: False)]

    assert sequences() == [0, 1, 2, 3]
    upkeep = Upkeep(files, ignore_note, max_days=0, max_bytes=0)
    upkeep.look(LATER)
    upkeep.look(LATER)
    assert upkeep.counts.files == 2
    assert sequences() == [0, 1, 2, 3]
    assert positions(files, "batches", [0]) == {0: 4}
