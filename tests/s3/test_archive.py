"""An archive in an S3-compatible store: a real server on loopback, versitygw."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from pyiceberg.catalog import load_catalog

from bus.connection import Connection, client_config
from bus.topics import EVENTS
from foundation.text import ignore_note
from lanner.archive.files import metadata_of, open_folder, positions
from lanner.archive.iceberg import ArchiveTables
from lanner.archive.intake import Intake, Overtaken
from lanner.archive.store import ArchiveStore
from lanner.archive.upkeep import Upkeep
from lanner.recorder.store import EventRange
from tests.cluster.processes import Processes
from tests.ports import free_ports
from tests.unit.lanner.archive.test_intake import messages, value_of
from tests.unit.lanner.archive.test_upkeep import LATER

SECONDS = 20.0


class Server:
    """A server with a bucket in a folder, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        """Start it. folder: an empty one."""
        (port,) = free_ports(1)
        self._address = ("127.0.0.1", port)
        self.endpoint = f"http://127.0.0.1:{port}"
        self._store = folder / "store"
        (self._store / "bucket").mkdir(parents=True)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        access = ("--access", "lanner", "--secret", "made-up-secret")
        self.process = subprocess.Popen(
            [os.environ["LANNER_VERSITYGW"], "--port", self.endpoint.rpartition("/")[2], *access, "posix", self._store],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < deadline
            try:
                socket.create_connection(self._address, 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server, whose credentials are in the environment."""
    for name, value in (("ACCESS_KEY_ID", "lanner"), ("SECRET_ACCESS_KEY", "made-up-secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    running = Server(tmp_path)
    yield running
    running.kill()


def test_messages_are_stored_once_merged_and_read_from_a_bucket(server: Server, tmp_path: Path) -> None:
    """As in a folder, with Iceberg tables."""
    files = open_folder("s3://bucket/fleet", server.endpoint)
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    tables = ArchiveTables(files, catalog, ignore_note, {"s3.endpoint": server.endpoint})
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
    upkeep = Upkeep(files, ignore_note, max_days=0, max_bytes=0, tables=tables)
    for _ in range(3):
        upkeep.look(LATER)
    table = load_catalog("lanner", type="sql", uri=catalog, **{"s3.endpoint": server.endpoint}).load_table(
        "lanner.batches"
    )
    assert table.scan().to_arrow()["offset"].to_pylist() == [0, 1, 2, 3]
    assert upkeep.counts.files == 2
    assert sequences() == [0, 1, 2, 3]
    assert positions(files, "batches", [0]) == {0: 4}


def test_a_store_that_hangs_or_is_away_is_reported_and_misses_nothing(
    server: Server, connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """What comes is read again from the topic, and each message is stored once."""
    producer = Producer(client_config(connection, "test"))

    def send() -> None:
        for each in messages(50):
            producer.produce(connection.topic(EVENTS), each.value(), b"host", 0)
        producer.flush(10)

    def stored() -> int:
        files = open_folder("s3://bucket/fleet", server.endpoint)
        return sum(metadata_of(files, each).num_rows for each in files.select("batches"))

    archive = processes.start(
        connection,
        "archive",
        *("-o", "archive.folder=s3://bucket/fleet", "-o", f"archive.s3_endpoint={server.endpoint}"),
        *("-o", "archive.flush_seconds=1", "-o", f"archive.catalog=sqlite:///{tmp_path}/catalog.db"),
    )
    send()
    wait(lambda: stored() == 50)
    server.process.send_signal(signal.SIGSTOP)
    send()
    archive.wait_for("the archive bucket/fleet can't be used", 120)
    server.process.send_signal(signal.SIGCONT)
    archive.wait_for("the archive answers again", 120)
    wait(lambda: stored() == 100)
    server.kill()
    send()
    wait(lambda: archive.errors.count("can't be used") >= 2)
    server.start()
    wait(lambda: stored() == 150)
    assert archive.stop() == 0
    assert "Traceback" not in archive.errors


def wait(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
