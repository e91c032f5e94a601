import zlib
from collections import Counter
from typing import Any

from lanner.recorder.coverage import HostCoverage, not_collected
from lanner.tuning.backtest import Backtest
from schemas.filter import Clause, PathPattern, PushdownFilter, encode_filter
from tests.unit.alerts import TIME, alert


def filter_for(*events: str) -> PushdownFilter:
    """Return a filter that selects all events of some types."""
    return PushdownFilter(frozenset(Clause(event) for event in events))


def within(*prefixes: bytes) -> Clause:
    """Return a clause for opens below some folders."""
    return Clause("openat", patterns=frozenset(PathPattern(is_prefix=True, text=prefix) for prefix in prefixes))


def test_alerts_are_counted_by_rule_and_host() -> None:
    """The rule with most alerts is first; a duplicate alert counts once."""
    backtest = Backtest()
    for number, (rule, host) in enumerate([("A", "x"), ("B", "x"), ("B", "y"), ("B", "y")]):
        assert backtest.count(alert(id=str(number), rule=rule, hostname=host, time=TIME + number))
    assert not backtest.count(alert(id="3", rule="B", hostname="y"))
    assert [(row.rule, row.host, row.count) for row in backtest.rows()] == [("B", "y", 2), ("B", "x", 1), ("A", "x", 1)]
    assert (backtest.rows()[0].first, backtest.rows()[0].last) == (TIME + 2, TIME + 3)
    assert backtest.alerts == 4


def test_what_rules_look_for_and_nobody_collected_is_reported() -> None:
    """Hosts with the same sentence are grouped; event types that the rules don't select don't matter."""
    facts: dict[str, Any] = {
        "watched": {"execve"},
        "narrowed": {"openat", "rename"},
        "partly": {"bind"},
        "encoded_filters": {b""},
    }
    hosts = {name: HostCoverage(name, 0, 0, **facts, is_known=True) for name in ("a", "b")}
    hosts["c"] = HostCoverage("c", 0, 0, lost=Counter(events_ring_full=1200), missing=2)
    narrowed = "collected only for the rules at that time, which is less than these rules need"
    event_types = frozenset({"execve", "openat", "ptrace", "bind"})
    assert not_collected(event_types, filter_for(*event_types), hosts) == [
        "not collected, because no rule at that time needed it: ptrace (a, b)",
        "collected only part of the time, because rules changed: bind (a, b)",
        f"{narrowed}: openat (a, b)",
        "unknown which events were collected (c)",
        "lost: 1,200 events (c)",
        "missing: 2 batches (c)",
    ]
    assert not_collected(frozenset({"execve"}), filter_for("execve"), {"a": hosts["a"]}) == []


def test_what_was_narrowed_to_no_less_than_rules_look_for_is_not_reported() -> None:
    """Each version of the filter that was active must cover the rules."""

    def reported(*patterns: bytes) -> bytes:
        return zlib.compress(encode_filter(PushdownFilter(frozenset({within(*patterns)}))))

    wide, narrow = reported(b"/etc/", b"/root/"), reported(b"/root/")
    for encoded_filters, is_known in (({wide}, False), ({narrow}, True), ({wide, narrow}, True), ({b""}, True)):
        host = HostCoverage("a", 0, 0, narrowed={"openat"}, encoded_filters=set(encoded_filters), is_known=True)
        draft = PushdownFilter(frozenset({within(b"/etc/shadow")}))
        assert bool(not_collected(frozenset({"openat"}), draft, {"a": host})) is is_known
