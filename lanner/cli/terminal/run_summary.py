"""Counts of a run or replay: the summary that Falco prints on exit, plus events seen and lost."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.alert import Alert
from schemas.catalogue.priorities import SEVERITY
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
        reasons = ", ".join(f"{reason}: {number:,}" for reason, number in sorted(lost.items()) if number)
        lines.append(f"Events seen: {self.events:,}")
        lines.append(f"Events lost: {sum(lost.values()):,}" + (f" ({reasons})" if reasons else ""))
        return lines

    def status(self, lost: Mapping[str, int]) -> str:
        """Return the text of the status line."""
        return f"watching: {self.events:,} events, {self.alerts:,} alerts, {sum(lost.values()):,} lost"
