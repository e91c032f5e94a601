"""A burst into the smallest ring while the collector hangs: every lost event is counted and reported."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import EVENTS
from processor.output.internal_alerts import EVENTS_LOST
from schemas.batch import EventBatch, events_lost
from schemas.encoding.batch import decode_batch
from tests.cluster.actions import Alerts
from tests.cluster.notices import wait_for_sum
from tests.cluster.processes import Processes

pytestmark = pytest.mark.live

BURST = 20_000
REASON = "events_over_share"
RULE = "Flooded"
RULES = f"""
- rule: {RULE}
  desc: d
  condition: evt.type in (link, linkat) and fs.path.source endswith .lanner-burst
  output: linked %fs.path.source
  priority: WARNING
"""


def test_what_did_not_fit_into_the_ring_is_reported_by_batches_and_alerts(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Generated = sent + lost, by the batches, the alerts and the collector's own counts."""
    rules, watched = tmp_path / "burst.yaml", tmp_path / "a.lanner-burst"
    rules.write_text(RULES)
    watched.write_text("")
    settings = ("-o", "collector.ring_mib=1", "-o", "collector.always_sent=[]", "-o", "collector.count_repeats=false")
    collector = processes.start(connection, "collector", *settings, rules=rules)
    worker = processes.start(connection, "processor", rules=rules)
    collector.wait_for("Stop: Ctrl-C", 60)
    worker.wait_for("evaluating rules:")

    collector.signal(signal.SIGSTOP)
    for _ in range(BURST):
        # The call fails and is reported anyway. Other programs rarely create links, so only these can be lost.
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
    wait_for_sum(connection, alerts, EVENTS_LOST, REASON, batches.lost, 20)
    alerts.close()
    assert worker.stop() == 0, worker.errors
    total = sum(events_lost(batch.lost) for batch in batches.found)
    assert f"{total:,} events lost" in collector.errors or f"Events lost: {total:,}" in collector.errors


class Batches:
    """The batches that the collector has sent so far."""

    def __init__(self, connection: Connection, watched: str) -> None:
        self._reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
        self._watched = watched
        self.found: list[EventBatch] = []

    @property
    def sent(self) -> int:
        """The number of link events of the file."""
        return sum(
            [batch.strings[index] for index in batch.columns["path_source"]].count(self._watched)
            for batch in self.found
        )

    @property
    def lost(self) -> int:
        """The number of lost events."""
        return sum(batch.lost.get(REASON, 0) for batch in self.found)

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Read until something holds."""
        deadline = time.monotonic() + 40
        while not holds():
            assert time.monotonic() < deadline, f"{self.sent} sent, {self.lost} lost"
            message = self._reader.poll(0.2)
            if message is not None:
                self.found.append(decode_batch(message.value() or b""))
