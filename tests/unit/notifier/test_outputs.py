import threading
import time
from pathlib import Path

from foundation.throttling import Backoff
from notifier.outbox import Outbox
from notifier.outputs import DirectDelivery, OutboxDelivery
from notifier.sink import RateLimited, RetryLater, RoutedAlert, SinkStats
from notifier.worker import RetryPolicy, Worker
from schemas.alert import Alert
from tests.notes import into
from tests.unit.notifier.scripted import Scripted, numbered


def delivery(path: Path, far: Scripted, reported: list[str], *, only: str = "") -> OutboxDelivery:
    """Return a delivery with a running worker."""

    def router(alert: Alert) -> RoutedAlert | None:
        return RoutedAlert(alert) if not only or alert.id == only else None

    box = Outbox(path, capacity=1000)
    made = Worker(
        "far", box, far, RetryPolicy(Backoff(), lambda: 0.5), router, stats=SinkStats(), report=into(reported)
    )
    return OutboxDelivery("far", box, made, into(reported))


def test_queued_alerts_are_delivered_before_close_returns(tmp_path: Path) -> None:
    """A thread delivers them, so detection never waits."""
    far = Scripted()
    made = delivery(tmp_path / "far.db", far, [])
    for each in numbered(20):
        made.deliver(each)
    made.close()
    assert far.took == [each.id for each in numbered(20)]


def test_alerts_for_a_dead_sink_are_delivered_at_the_next_start(tmp_path: Path) -> None:
    """Closing is not delayed, and reports how many wait."""
    reported: list[str] = []
    down = Scripted(*[RetryLater("connection refused")] * 100)
    made = delivery(tmp_path / "far.db", down, reported)
    for each in numbered(3):
        made.deliver(each)
    time.sleep(0.1)
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < 10
    assert reported[-1] == "far: 3 alerts on disk, sent at the next start."
    far = Scripted()
    delivery(tmp_path / "far.db", far, reported).close()
    assert far.took == [each.id for each in numbered(3)]


def test_an_alert_for_another_sink_is_not_queued(tmp_path: Path) -> None:
    """The outbox is bounded, and only for this sink."""
    far = Scripted()
    made = delivery(tmp_path / "far.db", far, [], only="id-0001")
    for each in numbered(3):
        made.deliver(each)
    made.close()
    assert far.took == ["id-0001"]


def test_a_second_worker_on_one_outbox_waits_for_the_end_of_the_first(tmp_path: Path) -> None:
    """A reload opens new sinks before it closes the old ones; no alert is delivered by both."""
    old, new = Scripted(*[RetryLater("connection refused")] * 100), Scripted()
    first = delivery(tmp_path / "far.db", old, [])
    first.deliver(numbered(1)[0])
    time.sleep(0.1)
    second = delivery(tmp_path / "far.db", new, [])
    time.sleep(0.2)
    assert new.took == []
    closing = threading.Thread(target=first.close)
    closing.start()
    closing.join()
    until = time.monotonic() + 5
    while not new.took and time.monotonic() < until:
        time.sleep(0.02)
    second.close()
    assert (old.took, new.took) == ([], ["id-0000"])


def test_a_direct_delivery_counts_lost_alerts_and_reports_once() -> None:
    """It reports the first failure and the recovery, and counts every alert."""
    reports: list[str] = []
    stats = SinkStats()
    sink = Scripted(RetryLater("disk full"), RateLimited(1.0))
    made = DirectDelivery(
        "file", sink, lambda each: RoutedAlert(each) if each.id != "id-0003" else None, stats, reports.append
    )
    for each in numbered(5):
        made.deliver(each)
    assert (stats.sent, stats.lost, sink.took) == (2, 2, ["id-0002", "id-0004"])
    assert reports == [
        "file: disk full; alerts are lost, and counted, until it works again.",
        "file: accepts alerts again; 2 so far were lost.",
    ]
