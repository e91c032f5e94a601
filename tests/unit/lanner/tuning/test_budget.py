from dataclasses import asdict, replace

import pytest

from lanner.settings.sections.fleet import RulesBudget
from lanner.tuning.costs import DAY_MS, CostComparison, VersionCost, over_budget

BEFORE = VersionCost(alerts=0, sent={}, nanoseconds=0, groups=0, state_bytes=0)
DRAFT = replace(BEFORE, alerts=10, sent={"openat": 600, "execve": 400}, nanoseconds=200_000, groups=7)
COSTS = CostComparison(BEFORE, DRAFT, (), events=1_000, hosts=2, bytes_per_event=1.0, first=0, last=DAY_MS // 2)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (RulesBudget(alerts_per_day=19), "20 alerts a day; published_rules.budget.alerts_per_day is 19."),
        (
            RulesBudget(events_per_host_per_day=999),
            "1,000 events a day from each host, on average; published_rules.budget.events_per_host_per_day is 999.",
        ),
        (
            RulesBudget(nanoseconds_per_event=199),
            "200 ns of processor time for an event; published_rules.budget.nanoseconds_per_event is 199.",
        ),
        (
            RulesBudget(state_groups=6),
            "7 windows, repeats and known values at a time; published_rules.budget.state_groups is 6.",
        ),
    ],
)
def test_each_limit_is_checked(budget: RulesBudget, sentence: str) -> None:
    """The sentence names the measured value and the setting."""
    assert over_budget(COSTS, asdict(budget), 24) == [sentence]


def test_a_limit_that_nothing_shows_is_not_met() -> None:
    """A fleet without stored events has measured zero of everything."""
    none = replace(COSTS, events=0, draft=BEFORE)

    assert over_budget(none, asdict(RulesBudget(alerts_per_day=19)), 24) == [
        "no events of the last 24 hours are stored, so the budget can't be checked."
    ]


def test_what_is_within_its_limits_is_not_reported() -> None:
    """A limit itself is allowed, and 0 is no limit."""
    assert over_budget(COSTS, asdict(RulesBudget()), 24) == []
    assert over_budget(COSTS, asdict(RulesBudget(20, 1_000, 200, 7)), 24) == []
