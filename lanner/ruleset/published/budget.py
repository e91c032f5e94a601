"""Checks what a version of the rules costs against the configured budget. Pure."""

from lanner.recorder.evaluation.rule_costs import CostComparison
from lanner.settings.sections.published import RulesBudget


def over_budget(costs: CostComparison, budget: RulesBudget) -> list[str]:
    """Return a sentence for each limit that the draft exceeds; one that nothing is known if there were no events.

    Args:
        costs: over the evaluated events; extrapolated to a day.
        budget: the limits; 0 is none.
    """
    if not costs.events:
        return [f"no events of the last {budget.hours} hours are stored, so the budget can't be checked."]
    draft = costs.draft
    measured = (
        ("alerts_per_day", budget.alerts_per_day, costs.a_day(draft.alerts), "alerts a day"),
        (
            "events_per_host_per_day",
            budget.events_per_host_per_day,
            costs.a_day(sum(draft.sent.values())) / max(costs.hosts, 1),
            "events a day from each host, on average",
        ),
        (
            "nanoseconds_per_event",
            budget.nanoseconds_per_event,
            draft.nanoseconds / max(costs.events, 1),
            "ns of processor time for an event",
        ),
        ("state_groups", budget.state_groups, draft.groups, "windows, repeats and known values at a time"),
    )
    return [
        f"{value:,.0f} {what}; published_rules.budget.{name} is {limit:,}."
        for name, limit, value, what in measured
        if limit and value > limit
    ]
