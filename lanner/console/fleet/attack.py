"""The ATT&CK matrix: which techniques rules cover, and which were active. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lanner.console.fleet.rules import RuleRow
from notifier.formats.mitre import TACTICS, AttackName, tactics, tactics_of, techniques


@dataclass(slots=True)
class Technique:
    """One cell."""

    name: AttackName
    rules: list[str] = field(default_factory=list)
    """Rules that are on."""
    off: list[str] = field(default_factory=list)
    """Rules that are off, or no longer among the rules."""
    alerts: int = 0
    """In the time range."""


@dataclass(frozen=True, slots=True)
class Tactic:
    """One column."""

    id: str
    name: str
    techniques: Sequence[Technique]

    @property
    def covered(self) -> int:
        """Techniques for which a rule is on."""
        return sum(bool(each.rules) for each in self.techniques)

    @property
    def alerts(self) -> int:
        """Alerts of its techniques; one alert may count for several."""
        return sum(each.alerts for each in self.techniques)


def matrix(rows: Iterable[RuleRow]) -> list[Tactic]:
    """Return all tactics in ATT&CK's order, each with the techniques that rules name, by id.

    A technique is in the columns that ATT&CK gives it. One that isn't known here is in those of its rules' own tags.
    """
    columns: dict[str, dict[str, Technique]] = {number: {} for number, _ in TACTICS.values()}
    for row in rows:
        tags = row.facts.tags if row.facts else ()
        own = [each.id for each in tactics(tags)]
        for name in techniques(tags):
            for number in tactics_of(name.id) or own:
                cell = columns[number].setdefault(name.id, Technique(name))
                (cell.rules if row.is_on else cell.off).append(row.name)
                cell.alerts += row.activity.count
    return [
        Tactic(number, name, [cell for _, cell in sorted(columns[number].items())]) for number, name in TACTICS.values()
    ]
