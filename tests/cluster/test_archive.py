"""`lanner archive` on a real broker."""

import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Producer

from bus.connection import Connection, client_config
from bus.topics import ALERTS, EVENTS
from foundation.text import ignore_note
from lanner.archive.files import open_folder
from lanner.archive.store import ArchiveStore
from lanner.recorder.store import EventRange
from schemas.alert import alert_id, encode_alert
from schemas.encoding.batch import encode_batch
from tests.cluster.processes import Processes, Running
from tests.unit.alerts import alert
from tests.unit.lanner.recorder.test_event_stores import stored_now

_SECONDS = 60.0


def _archived(folder: Path) -> tuple[Counter[tuple[str, int]], Counter[str]]:
    """Return how often each batch, and each alert, is in an archive."""
    store = ArchiveStore(open_folder(str(folder)), ignore_note)
    batches = Counter((each.batch.host_id, each.batch.sequence) for each in store.batches(EventRange(0), lambda: False))
    return batches, Counter(each.id for each in store.alerts(EventRange(0), lambda: False))


def test_every_message_is_stored_once_although_processes_are_killed_at_any_time(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Two processes share the partitions, one of the messages is damaged, and other commands read the archive."""
    folder = tmp_path / "archive"
    flags = ("-o", f"archive.folder={folder}", "-o", "archive.flush_seconds=1")
    drawn = random.Random(7)
    producer = Producer(client_config(connection, "test"))
    batch = stored_now().batches[0]

    def start() -> Running:
        return processes.start(connection, "archive", *flags)

    running = [start(), start()]
    meant = set()
    alerts = set()
    producer.produce(connection.topic(EVENTS), encode_batch(batch)[:-30], b"bad", 0)
    for number in range(120):
        host = f"host-{number % 16}"
        value = encode_batch(replace(batch, host_id=host, hostname=host, sequence=number))
        producer.produce(connection.topic(EVENTS), value, host)
        meant.add((host, number))
        if number % 10 == 0:
            raised = alert(id=alert_id(number, str(number)), host_id=host)
            producer.produce(connection.topic(ALERTS), encode_alert(raised), host)
            alerts.add(raised.id)
        producer.flush(10)
        if number % 30 == 29:
            time.sleep(drawn.random() * 4)
            running[number // 30 % 2].kill()
            running[number // 30 % 2] = start()
    deadline = time.monotonic() + _SECONDS
    while _archived(folder)[0].keys() != meant or _archived(folder)[1].keys() != alerts:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert [each.stop() for each in running] == [0, 0]

    assert _archived(folder) == (Counter(meant), Counter(alerts))
    assert any("is not archived" in each.errors for each in processes.started)
    status = processes.start(connection, "archive", "--status", *flags)
    assert status.result() == 0
    assert f"batches: {len(meant)} rows" in status.output
    listed = processes.start(connection, "alerts", "list", "--since", "10000d", "--file", folder)
    assert listed.result() == 0, listed.errors
    replayed = processes.start(connection, "replay", folder)
    assert replayed.result() == 0, replayed.errors
    assert f"Events seen: {3 * len(meant)}" in replayed.errors
