from collections import Counter

from lanner.flight_recorder.backtest import Backtest, not_collected
from lanner.flight_recorder.coverage import HostCoverage
from tests.unit.alerts import TIME, alert


def test_alerts_are_counted_by_rule_and_host() -> None:
    """The rule that found most first; an alert that comes twice counts once."""
    backtest = Backtest()
    for number, (rule, host) in enumerate([("A", "x"), ("B", "x"), ("B", "y"), ("B", "y")]):
        assert backtest.count(alert(id=str(number), rule=rule, hostname=host, time=TIME + number))
    assert not backtest.count(alert(id="3", rule="B", hostname="y"))
    assert [(row.rule, row.host, row.count) for row in backtest.rows()] == [("B", "y", 2), ("B", "x", 1), ("A", "x", 1)]
    assert (backtest.rows()[0].first, backtest.rows()[0].last) == (TIME + 2, TIME + 3)
    assert backtest.alerts == 4


def test_what_rules_look_for_and_nobody_collected_is_told() -> None:
    """Hosts of which the same is to be said are said together; what the rules don't look for doesn't matter."""
    hosts = {
        name: HostCoverage(name, 0, 0, watched={"execve"}, narrowed={"openat", "rename"}, partly={"bind"}, is_told=True)
        for name in ("a", "b")
    }
    hosts["c"] = HostCoverage("c", 0, 0, lost=Counter(events_ring_full=1200), missing=2)
    narrowed = "collected only where a rule of that time could match, so that what only these rules look for is missing"
    assert not_collected(frozenset({"execve", "openat", "ptrace", "bind"}), hosts) == [
        "not collected, for no rule of that time asked: ptrace (a, b)",
        "collected for a part of the time only, as rules changed: bind (a, b)",
        f"{narrowed}: openat (a, b)",
        "which events were collected is not known (c)",
        "lost: 1,200 events (c)",
        "never came: 2 batches (c)",
    ]
    assert not_collected(frozenset({"execve"}), {"a": hosts["a"]}) == []
