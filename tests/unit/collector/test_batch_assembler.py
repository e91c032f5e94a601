"""When and how a collector reports what it watches."""

import zlib

from collector.batch_assembler import WatchReport
from schemas.filter import Clause, Predicate, PushdownFilter, decode_filter

FAILURES = frozenset({(Predicate("failed", 1, (1,)), True)})
FILTER = PushdownFilter(frozenset({Clause("openat"), Clause("unlink", FAILURES)}))


def test_a_report_comes_at_once_and_then_at_intervals() -> None:
    """Processors that start later receive it as well."""
    report = WatchReport(frozenset({"openat"}), None, interval=15.0, now=100.0)

    assert report.take(100.0) == (["openat"], [], b"")
    assert report.take(114.0) == ([], [], b"")
    assert report.take(115.0) == (["openat"], [], b"")


def test_a_change_is_reported_with_the_filter() -> None:
    """An event type with a clause that matches all its events is watched in full."""
    report = WatchReport(frozenset({"close"}), None, interval=15.0, now=0.0)
    report.take(0.0)
    report.change(frozenset({"openat", "unlink", "close"}), FILTER, 1.0)

    watched, narrowed, packed = report.take(1.0)
    assert (watched, narrowed) == (["close", "openat"], ["unlink"])
    assert decode_filter(zlib.decompress(packed)) == FILTER
