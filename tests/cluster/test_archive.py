"""`lanner archive` on a real broker."""

import random
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from bus.connection import Connection, client_config
from bus.topics import ALERTS, EVENTS
from foundation.text import ignore_note
from lanner.archive.files import ArchiveFiles, open_folder
from lanner.archive.iceberg import ArchiveTables
from lanner.archive.store import ArchiveStore
from lanner.errors import BadInput
from lanner.recorder.store import EventRange
from lanner.settings import Settings
from lanner.settings.sections.fleet import PublishedRulesSettings
from lanner.settings.sections.services import ArchiveSettings
from lanner.wiring.stages.indicator_search import indicator_search
from schemas.alert import alert_id, encode_alert
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import Alerts
from tests.cluster.processes import Processes, Running
from tests.cluster.publishing import publish, until
from tests.cluster.test_signed_rules import make_keys
from tests.unit.alerts import alert
from tests.unit.lanner.recorder.test_event_stores import stored_now
from tests.unit.processor.batches import batch_of

_SECONDS = 60.0
_MINUTES_MS = 600_000
LISTED = """
- indicators: published
  file: lists/published.txt
  kind: text
- rule: A listed file
  desc: Somebody opens a file that is on a list.
  condition: evt.type = openat and fd.name in_indicators (published)
  output: Opened %fd.name
  priority: NOTICE
"""


def _archived(folder: Path) -> tuple[Counter[tuple[str, int]], Counter[str]]:
    """Return how often each batch, and each alert, is in an archive."""
    store = ArchiveStore(open_folder(str(folder)), ignore_note)
    batches = Counter((each.batch.host_id, each.batch.sequence) for each in store.batches(EventRange(0), lambda: False))
    return batches, Counter(each.id for each in store.alerts(EventRange(0), lambda: False))


def _paths(files: ArchiveFiles, dataset: str) -> set[str]:
    return {each.path for each in files.select(dataset)}


def test_every_message_is_stored_once_although_processes_are_killed_at_any_time(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Two processes share the partitions, a message is damaged, commands read the archive, its tables have it all."""
    folder = tmp_path / "archive"
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    flags = ("-o", f"archive.folder={folder}", "-o", "archive.flush_seconds=1", "-o", f"archive.catalog={catalog}")
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
    last = start()
    files = open_folder(str(folder))
    tables = ArchiveTables(files, catalog, ignore_note, {})
    while any(state.files.keys() != _paths(files, name) for name, state in tables.read().items()):
        assert time.monotonic() < deadline + _SECONDS
        time.sleep(1)
    assert last.stop() == 0
    status = processes.start(connection, "archive", "--status", *flags)
    assert status.result() == 0
    assert f"batches: {len(meant)} rows" in status.output
    listed = processes.start(connection, "alerts", "list", "--since", "10000d", "--file", folder)
    assert listed.result() == 0, listed.errors
    replayed = processes.start(connection, "replay", folder)
    assert replayed.result() == 0, replayed.errors
    assert f"Events seen: {3 * len(meant)}" in replayed.errors


def test_an_archive_is_searched_for_published_entries_once(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The version is signed, the alert has the event's time and a mark, and a second process finds nothing again."""
    folder, now = tmp_path / "archive", time.time_ns()
    key, other = tmp_path / "rules.key", tmp_path / "other.pub"
    make_keys(key, tmp_path / "rules.pub")
    make_keys(tmp_path / "other.key", other)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/published.txt").write_text("/nowhere\n")
    rules = tmp_path / "listed.yaml"
    rules.write_text(LISTED)
    publish(processes, connection, rules, "--sign-key", key)
    flags = (f"archive.folder={folder}", "archive.flush_seconds=1", "archive.indicator_days=30")
    flags = (*flags, f"published_rules.public_key_files=[{tmp_path / 'rules.pub'}]")
    archive = processes.start(connection, "archive", *(word for flag in flags for word in ("-o", flag)))
    until((folder / "indicators/search.json").exists, "the lists were not noted")
    producer = Producer(client_config(connection, "test"))
    opened = batch_of({"type": "openat", "fd_name": "/listed/a", "fd_type": "file", "time": now})
    producer.produce(connection.topic(EVENTS), encode_batch(opened), b"host-1")
    producer.flush(10)
    until(lambda: bool(_archived(folder)[0]), "the event was not archived")
    assert archive.stop() == 0

    (tmp_path / "lists/published.txt").write_text("/nowhere\n/listed/a\n")
    publish(processes, connection, rules, "--sign-key", key)
    notes: list[str] = []

    def searched(key_file: Path = tmp_path / "rules.pub") -> None:
        """Search as a fresh process does, as if time had passed."""
        settings = Settings(
            archive=ArchiveSettings(flush_seconds=1, indicator_days=30),
            published_rules=PublishedRulesSettings(public_key_files=(str(key_file),)),
        )
        thread = indicator_search(
            settings, open_folder(str(folder)), connection, lambda: True,
            ended=threading.Event(), note=lambda text, *_: notes.append(text),
        )  # fmt: skip
        for later in (0, _MINUTES_MS):
            thread.search.look(now // 1_000_000 + later)

    with pytest.raises(BadInput, match="none of this processor's keys signed it"):
        searched(other)
    searched()
    searched()
    alerts = Alerts(connection)
    until(lambda: alerts.read(0.2) or len(alerts.raw) >= 2, "nothing was published")
    found, report = sorted(alerts.raw, key=lambda each: each.source == "internal")
    assert (found.rule, found.time, len(alerts.raw)) == ("A listed file", now, 2)
    assert found.output.startswith("Opened /listed/a")
    assert found.output_fields["indicator.name"] == "/listed/a"
    assert str(found.output_fields["indicator.found_later"]).endswith("Z")
    assert "unknown which events were collected (web-3)" in report.output
    assert any("1 new entry to search for" in text for text in notes)
