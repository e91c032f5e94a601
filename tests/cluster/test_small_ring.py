"""A burst into the smallest ring, while the collector hangs: what is lost is counted, and told to the last event."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.consuming import Reader
from bus.tables import read_tables
from bus.topics import CORRELATION_TABLE, EVENTS, changelog
from processor.correlation.notices import Tally
from processor.correlation.state import decode_entry
from processor.internal_alerts import EVENTS_LOST
from schemas.batch import EventBatch
from schemas.codec import decode_batch
from tests.cluster.acts import Alerts
from tests.cluster.processes import Processes

pytestmark = pytest.mark.live

BURST = 20_000
PARTITIONS = 8
REASON = "events_ring_full"
RULE = "Flooded"
RULES = f"""
- rule: {RULE}
  desc: d
  condition: evt.type in (link, linkat) and fs.path.source endswith .lanner-burst
  output: linked %fs.path.source
  priority: WARNING
"""


def test_what_did_not_fit_into_the_ring_is_told_by_batches_and_alerts(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Made = sent + lost, by the batches' counts, by the alerts about it, and by the collector's own account."""
    rules, watched = tmp_path / "burst.yaml", tmp_path / "a.lanner-burst"
    rules.write_text(RULES)
    watched.write_text("")
    settings = ("-o", "collector.ring_mib=1", "-o", "collector.always_sent=[]")
    collector = processes.start(connection, "collector", *settings, rules=rules)
    worker = processes.start(connection, "processor", rules=rules)
    collector.wait_for("Stop: Ctrl-C", 60)
    worker.wait_for("judging by")

    collector.signal(signal.SIGSTOP)
    for _ in range(BURST):
        # It fails, and is told all the same. Others link so seldom that only ours can be lost.
        with suppress(FileExistsError):
            os.link(watched, watched)
    collector.signal(signal.SIGCONT)

    batches = Batches(connection, str(watched))
    batches.wait_for(lambda: batches.sent + batches.lost >= BURST)
    assert collector.stop() == 0, collector.errors
    batches.wait_for(lambda: any(batch.stopping for batch in batches.found))
    assert batches.lost > 0
    assert batches.sent > 0
    assert batches.sent + batches.lost == BURST

    alerts = Alerts(connection)
    deadline = time.monotonic() + 40
    while len({alert.id for alert in alerts.raw if alert.rule == RULE}) < batches.sent:
        assert time.monotonic() < deadline, "not every event that was sent is alerted on"
        alerts.read(0.5)
    assert worker.stop() == 0, worker.errors
    alerts.read(2)
    alerts.close()
    told = {alert.id: alert.output_fields for alert in alerts.raw if alert.rule == EVENTS_LOST}
    # What came within five minutes of the first alert about losses is summed in the topic of correlation's state.
    told_later = sum(tally.numbers.get(REASON, 0) for tally in tallies(connection))
    assert sum(int(str(fields.get(REASON, 0))) for fields in told.values()) + told_later == batches.lost
    assert f"{batches.lost:,} events lost" in collector.errors or f"Events lost: {batches.lost:,}" in collector.errors


def tallies(connection: Connection) -> list[Tally]:
    """Give the sums that are still to be told."""
    topic = connection.topic(changelog(CORRELATION_TABLE))
    tables = read_tables(connection, topic, range(PARTITIONS), lambda: False)
    states = [decode_entry(blob).state for table in tables.values() for blob in table.values.values()]
    return [state for state in states if isinstance(state, Tally)]


class Batches:
    """What the collector has sent so far."""

    def __init__(self, connection: Connection, watched: str) -> None:
        self._reader = Reader(connection, connection.topic(EVENTS), whole=True)
        self._watched = watched
        self.found: list[EventBatch] = []

    @property
    def sent(self) -> int:
        """Links of the file."""
        return sum(
            [batch.strings[index] for index in batch.columns["path_source"]].count(self._watched)
            for batch in self.found
        )

    @property
    def lost(self) -> int:
        """Events that did not fit."""
        return sum(batch.lost.get(REASON, 0) for batch in self.found)

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Read until something holds."""
        deadline = time.monotonic() + 40
        while not holds():
            assert time.monotonic() < deadline, f"{self.sent} sent, {self.lost} lost"
            message = self._reader.poll(0.2)
            if message is not None:
                self.found.append(decode_batch(message.value() or b""))
