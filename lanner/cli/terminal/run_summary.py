"""Counts of a run or replay: the summary that Falco prints on exit, plus events seen and lost."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.alert import Alert
from schemas.batch import INCOMPLETE_REASONS, events_lost
from schemas.catalogue.priorities import SEVERITY
from schemas.text.counts import count_of
from schemas.text.printable import printable


@dataclass(slots=True)
class Summary:
    """Counts since the process started."""

    events: int = 0
    alerts: int = 0
    by_priority: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)

    by_both: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By rule and priority."""

    def count(self, alert: Alert) -> None:
        """Count one alert."""
        self.alerts += 1
        self.by_priority[alert.priority] += 1
        self.by_rule[alert.rule] += 1
        self.by_both[alert.rule, alert.priority] += 1

    def lines(self, lost: Mapping[str, int]) -> list[str]:
        """Return the lines of the summary; lost is the number of events by reason."""
        lines = [f"Events detected: {self.alerts}", "Rule counts by severity:"]
        lines += [f"   {name.upper()}: {self.by_priority[name]}" for name in SEVERITY if self.by_priority[name]]
        lines.append("Triggered rules by rule name:")
        lines += [f"   {printable(rule)}: {number}" for rule, number in sorted(self.by_rule.items())]
        lines.append(f"Events seen: {self.events:,}")
        incomplete = {reason: number for reason, number in lost.items() if reason in INCOMPLETE_REASONS and number}
        gone = {reason: number for reason, number in lost.items() if reason not in INCOMPLETE_REASONS}
        lines.append(f"Events lost: {_with_reasons(gone)}")
        if incomplete:
            lines.append(f"Events with facts left out: {_with_reasons(incomplete)}")
        return lines

    def status(self, lost: Mapping[str, int]) -> str:
        """Return the text of the status line."""
        events, alerts = count_of(self.events, "event"), count_of(self.alerts, "alert")
        return f"watching: {events}, {alerts}, {events_lost(lost):,} lost"


def _with_reasons(numbers: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason}: {number:,}" for reason, number in sorted(numbers.items()) if number)
    return f"{sum(numbers.values()):,}" + (f" ({reasons})" if reasons else "")
