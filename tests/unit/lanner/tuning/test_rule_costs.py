import itertools
from dataclasses import replace

import pytest

from lanner.recorder.store import StoredBatch
from lanner.settings import Settings
from lanner.tuning.costs import DAY_MS, ComparedRules, CostComparison, RuleCost, RuleCosts
from lanner.wiring.rules import detection_of, rule_choices
from processor.loading import RuleFile
from tests.unit.processor.batches import batch_of

RULE = "- {{rule: {name}, desc: d, condition: '{condition}', output: o, priority: NOTICE}}\n"
SHADOW = RULE.format(name="Shadow", condition="evt.type = openat and fd.name = /etc/shadow")
ETC = RULE.format(name="Below etc", condition="evt.type in (openat, unlink) and fd.name startswith /etc/")
MANY = (
    "- macro: many\n  condition: evt.type = openat and fd.name startswith /etc/\n"
    "  correlation: {type: event_count, group-by: [fd.name], timespan: 1h, condition: {gte: 2}}\n"
) + RULE.format(name="Many", condition="many")
NEW = (
    "- macro: new\n  condition: evt.type = openat\n"
    "  correlation: {type: first_seen, group-by: [evt.hostname], field: fd.name, lookback: 7d}\n"
) + RULE.format(name="New", condition="new")


def compiled(text: str) -> ComparedRules:
    """Return a version of the rules."""
    detection = detection_of(
        Settings(), replace(rule_choices(Settings()), files=(RuleFile("r.yaml", text),), origin="r.yaml")
    )
    return ComparedRules(detection.ruleset, detection.pushdown_filter)


def compared(before: str, draft: str, *paths: tuple[str, str]) -> CostComparison:
    """Compare two versions on opens: host and path, one an hour. The clock advances by 1 ns at each call."""
    costs = RuleCosts(compiled(before), compiled(draft), itertools.count().__next__)
    for number, (host, path) in enumerate(paths):
        event = {"type": "openat", "fd_name": path, "fd_name_raw": path, "time": (number + 1) * 10**9}
        batch = batch_of(event, host_id=host, hostname=host, sequence=number + 1)
        costs.take(StoredBatch(batch, 1 + number * 3_600_000))
    return costs.finish()


def test_both_versions_are_evaluated_on_the_same_events() -> None:
    """Alerts are counted by rule, with the host that has most; rules without alerts are left out."""
    found = compared(SHADOW, SHADOW + ETC, ("a", "/etc/passwd"), ("b", "/etc/hosts"), ("b", "/etc/group"), ("a", "/x"))

    assert found.rules == (RuleCost("Below etc", 0, 3, 2, "b", 2),)
    assert (found.before.alerts, found.draft.alerts, found.events, found.hosts) == (0, 3, 4, 2)


def test_events_that_the_filter_lets_through_are_counted_by_type() -> None:
    """As the kernel would decide: what matches no rule isn't sent."""
    found = compared(SHADOW, SHADOW + ETC, ("a", "/etc/shadow"), ("a", "/etc/passwd"), ("a", "/x"))

    assert (found.before.sent, found.draft.sent) == ({"openat": 1}, {"openat": 2})
    assert found.bytes_per_event > 100


def test_counts_are_extrapolated_to_a_day() -> None:
    """From the first to the last batch."""
    found = compared(SHADOW, ETC, *[("a", "/etc/shadow")] * 3)

    assert found.milliseconds == 2 * 3_600_000
    assert found.a_day(found.draft.alerts) == pytest.approx(3 * DAY_MS / found.milliseconds)


def test_windows_are_counted_at_their_maximum_and_their_state_is_measured() -> None:
    """Here two windows and the repeats of one rule; a version without stateful rules has none."""
    found = compared(SHADOW, MANY, ("a", "/etc/passwd"), ("a", "/etc/group"), ("b", "/etc/group"))

    assert (found.before.groups, found.draft.groups) == (0, 3)
    assert found.draft.state_bytes > found.before.state_bytes
    assert [(rule.rule, rule.draft) for rule in found.rules] == [("Many", 1)]


def test_values_that_first_seen_learns_are_state() -> None:
    """Each value counts, also before the macro can be true."""
    found = compared(SHADOW, NEW, ("a", "/etc/passwd"), ("a", "/etc/group"), ("b", "/etc/group"))

    assert (found.before.groups, found.draft.groups) == (0, 3)
    assert found.draft.state_bytes > found.before.state_bytes + 3 * len("/etc/group")


def test_processor_time_is_that_of_the_evaluation_alone() -> None:
    """The clock is read before and after each batch of each version."""
    found = compared(SHADOW, ETC, *[("a", "/x")] * 5)

    assert (found.before.nanoseconds, found.draft.nanoseconds) == (5, 5)
