import threading
import time
from pathlib import Path

from bus.clients.backoff import Backoff
from notifier.delivery.outcome import RetryLater, RoutedAlert
from notifier.delivery.retry import RetryPolicy
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import Worker
from notifier.local.outbox_sink import OutboxSink
from notifier.queue.outbox import Outbox
from schemas.alert import Alert
from tests.unit.notifier.lines import Scripted, numbered


def sink(path: Path, far: Scripted, told: list[str], *, only: str = "") -> OutboxSink:
    """Make a sink over an outbox, its thread running."""

    def address(alert: Alert) -> RoutedAlert | None:
        return RoutedAlert(alert) if not only or alert.id == only else None

    box = Outbox(path, most=1000)
    courier = RetryPolicy(Backoff(), lambda: 0.5)
    made = Worker("far", box, far, courier, address, tally=SinkStats(), on_trouble=told.append)
    return OutboxSink("far", box, made, address, told.append)


def test_what_is_put_is_delivered_by_a_thread_before_the_end(tmp_path: Path) -> None:
    """And detection never waits for it."""
    far = Scripted()
    made = sink(tmp_path / "far.db", far, [])
    for each in numbered(20):
        made.send(each)
    made.close()
    assert far.took == [each.id for each in numbered(20)]


def test_what_a_dead_far_end_did_not_take_goes_out_at_the_next_start(tmp_path: Path) -> None:
    """The end is not held up, and says how many wait."""
    told: list[str] = []
    down = Scripted(*[RetryLater("connection refused")] * 100)
    made = sink(tmp_path / "far.db", down, told)
    for each in numbered(3):
        made.send(each)
    time.sleep(0.1)
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < 10
    assert told[-1] == "far: 3 alerts wait on disk and go out at the next start."
    far = Scripted()
    sink(tmp_path / "far.db", far, told).close()
    assert far.took == [each.id for each in numbered(3)]


def test_an_alert_for_another_sink_is_not_even_put(tmp_path: Path) -> None:
    """The outbox is bounded, and holds what is for this sink."""
    far = Scripted()
    made = sink(tmp_path / "far.db", far, [], only="id-0001")
    for each in numbered(3):
        made.send(each)
    made.close()
    assert far.took == ["id-0001"]


def test_a_second_sink_over_one_outbox_waits_for_the_end_of_the_first(tmp_path: Path) -> None:
    """As at a reload, where the new sinks open before the old ones close: nothing is delivered by both."""
    old, new = Scripted(*[RetryLater("connection refused")] * 100), Scripted()
    first = sink(tmp_path / "far.db", old, [])
    first.send(numbered(1)[0])
    time.sleep(0.1)
    second = sink(tmp_path / "far.db", new, [])
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
