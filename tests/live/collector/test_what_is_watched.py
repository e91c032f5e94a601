"""A collector reports what it watches and when it stops, so that silence differs from absence."""

from collector.settings import CollectorSettings
from lanner.recorder.coverage import read_filter
from schemas.filter import Clause, PathPattern, PushdownFilter
from tests.live.collector.watching import watching

NARROW = PushdownFilter(
    frozenset({Clause("execve"), Clause("openat", patterns=frozenset({PathPattern(True, b"/etc/")}))})
)
SOON = CollectorSettings(heartbeat_seconds=0.2)


def test_batches_state_what_is_watched_whole_and_what_in_part() -> None:
    """At the start, after a change, and at intervals; not in every batch."""
    with watching("execve", "openat", pushdown_filter=NARROW, settings=SOON) as watch:
        watch.run("/bin/true")
        watch.settle()
        reports = [batch for batch in watch.batches if batch.watched or batch.narrowed]
        assert watch.batches[0] is reports[0]
        assert {(tuple(batch.watched), tuple(batch.narrowed)) for batch in reports} == {(("execve",), ("openat",))}
        assert {read_filter(batch.interest) for batch in reports} == {NARROW}
        assert len(reports) > 1
        watch.collector.watch(frozenset({"execve", "openat", "connect"}), None)
        before = len(watch.batches)
        watch.run("/bin/true")
        assert watch.batches[before].watched == ["connect", "execve", "openat"]
        assert watch.batches[before].narrowed == []


def test_the_last_batch_states_that_it_is_the_last() -> None:
    """And no other batch is marked."""
    with watching("execve") as watch:
        watch.run("/bin/true")
    assert [batch.stopping for batch in watch.batches] == [False] * (len(watch.batches) - 1) + [True]
