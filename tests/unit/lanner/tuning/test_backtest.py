import textwrap
import zlib
from collections import Counter
from typing import Any

import pytest

from lanner.recorder.coverage import HostCoverage, not_collected
from lanner.tuning.backtest import Backtest, spans
from processor.detection.stage import compile_ruleset
from processor.loading import RuleFile, load_rules
from schemas.catalog.priorities import Priority
from schemas.filter import Clause, PathPattern, PushdownFilter, encode_filter
from tests.unit.alerts import TIME, alert

DAY = 86_400_000_000_000


def filter_for(*events: str) -> PushdownFilter:
    """Return a filter that selects all events of some types."""
    return PushdownFilter(frozenset(Clause(event) for event in events))


def within(*prefixes: bytes) -> Clause:
    """Return a clause for opens below some folders."""
    return Clause("openat", patterns=frozenset(PathPattern(is_prefix=True, text=prefix) for prefix in prefixes))


def test_alerts_are_counted_by_day_host_and_image() -> None:
    """The rule with most alerts is first; a duplicate alert counts once."""
    backtest = Backtest()
    nginx = {"container.id": "3f2", "container.image.repository": "nginx", "container.image.tag": "1.27"}
    found = [("A", "x", {}), ("B", "x", nginx), ("B", "y", nginx), ("B", "y", {"container.id": "host"})]
    for number, (rule, host, event) in enumerate(found):
        assert backtest.count(alert(id=str(number), rule=rule, hostname=host, event=event, time=TIME + number * DAY))
    assert not backtest.count(alert(id="3", rule="B", hostname="y"))

    first, second = backtest.ordered()
    assert (first.rule, first.count, first.first, first.last) == ("B", 3, TIME + DAY, TIME + 3 * DAY)
    assert first.days == {"2026-11-25": 1, "2026-11-26": 1, "2026-11-27": 1}
    assert (first.hosts, first.images) == ({"x": 1, "y": 2}, {"nginx:1.27": 2, "host": 1})
    assert (second.rule, second.images, backtest.alerts) == ("A", {"host": 1}, 4)
    assert backtest.busiest_day() == (1, "2026-11-27")
    assert backtest.busiest_day(Priority.ERROR) == (0, "")


def test_examples_differ_as_far_as_alerts_do() -> None:
    """One noisy process gets one of the five, whichever alerts come first, as long as others alert too."""
    backtest = Backtest()

    def take(number: int, program: str, pid: int, host: str = "web-3", output: str = "ran") -> None:
        event = {"proc.exepath": program, "proc.pid": pid}
        backtest.count(alert(id=str(number), time=TIME + number, event=event, hostname=host, output=output))

    for number in range(20):
        take(number, "/usr/bin/cron", 7)
    (found,) = backtest.ordered()
    assert len(found.examples) == 1
    for number in range(20, 30):
        take(number, "/usr/bin/cron", number)
    assert len(found.examples) == 5
    for number, program in enumerate(("/usr/bin/a", "/usr/bin/b", "/usr/bin/c"), 30):
        take(number, program, 8)
    take(40, "/usr/bin/cron", 9, host="web-4")

    assert {each.program for each in found.examples} == {"/usr/bin/cron", "/usr/bin/a", "/usr/bin/b", "/usr/bin/c"}
    assert {each.host for each in found.examples} == {"web-3", "web-4"}
    take(50, "/usr/bin/cron", 10, output="wrote a file")
    assert "wrote a file" in {each.output for each in found.examples}
    assert [each.time for each in found.examples] == sorted(each.time for each in found.examples)


def test_what_is_beyond_the_limit_of_counts_is_counted_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile host can choose a new name for each alert; the rule's own count stays right."""
    monkeypatch.setattr("lanner.tuning.backtest._MAX_COUNTS", 5)
    backtest = Backtest()
    for number in range(10):
        backtest.count(alert(id=str(number), hostname=f"host-{number}"))

    (found,) = backtest.ordered()
    assert (found.count, len(found.hosts), backtest.beyond) == (10, 3, {"hosts": 7})


def test_the_span_of_a_rule_includes_what_its_macros_wait_for() -> None:
    """A count of what is itself counted depends on events of both times, and on the period of its repeats."""
    text = """
    - macro: many
      condition: evt.type = unlink
      correlation: {type: event_count, group-by: [proc.name], timespan: 1h, condition: {gte: 2}}
    - macro: more
      condition: many and proc.name = rm
      correlation: {type: event_count, group-by: [proc.name], timespan: 2h, condition: {gte: 2}}
    - {rule: R, desc: d, condition: more, output: o, priority: NOTICE, suppress: {by: [proc.name], for: 30m}}
    """
    loaded = load_rules([RuleFile("rules.yaml", textwrap.dedent(text))])
    assert not loaded.errors
    assert spans(compile_ruleset(loaded.rules, loaded.macros).plan) == {"R": 3_600_000 * 7 // 2}


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
