"""Rules with their alerts, cost and last change: their list with filters, and the ATT&CK matrix. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from lanner.console.fleet.ports import KnownRules, RuleFacts, has_name
from lanner.console.store.filters import PageFilter
from lanner.console.store.rows import AllRuleActivity, RuleActivity
from schemas.catalog.attack import TACTIC_TAGS as TACTICS
from schemas.catalog.attack import AttackName, tactics, tactics_of, techniques

STATES: Mapping[str, str] = {
    "all": "all",
    "fired": "with alerts in this time",
    "quiet": "without alerts in this time",
    "never": "that never fired",
    "off": "that are off",
    "other": "not among the rules",
}
SORTS: Mapping[str, str] = {
    "alerts": "most alerts",
    "cost": "highest cost",
    "changed": "last change",
    "last": "newest alert",
    "name": "name",
}
NEW_SINCE = "7d"
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class RuleFilter(PageFilter):
    """The selection of the list."""

    PATH = "/rules"
    ALLOWED: ClassVar[Mapping[str, Collection[str]]] = {"state": STATES, "sort": SORTS}
    name: str = ""
    """Part of the name; `*` matches any text."""
    state: str = "all"
    technique: str = ""
    """An id of ATT&CK; T1059 includes T1059.004."""
    since: str = NEW_SINCE
    sort: str = "alerts"


@dataclass(frozen=True, slots=True)
class PastChange:
    """A change of a rule."""

    time: int
    """µs since the epoch."""
    by: str
    """The publisher; without one, the cause."""
    version: str
    how: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule of the list."""

    name: str
    facts: RuleFacts | None
    """None if it is not among the rules: of an earlier version, another program, or about Lanner itself."""
    priority: str
    activity: RuleActivity
    per_day: float
    """Alerts a day in the time range."""
    never: bool
    """True if the view has no alert of it, of any time."""
    seconds: float | None
    """Estimated time to evaluate it alone; None if not known."""
    share: float
    """Part of the cost of all rules, from 0 to 1."""
    change: PastChange | None

    @property
    def is_on(self) -> bool:
        """True if it is among the rules and enabled."""
        return self.facts is not None and self.facts.enabled


def rule_rows(known: KnownRules, activity: AllRuleActivity, changes: Mapping[str, PastChange]) -> list[RuleRow]:
    """Return all rules, and those that are in alerts only, each with its activity and its last change."""
    facts = {each.name: each for each in known.rules}
    total = sum(known.seconds.values())
    days = max((activity.until - activity.since) / _DAY_US, 1)
    rows = []
    for name in dict.fromkeys((*facts, *activity.rules)):
        found = activity.rules.get(name)
        fact = facts.get(name)
        seconds = known.seconds.get(name)
        rows.append(
            RuleRow(
                name=name,
                facts=fact,
                priority=fact.priority if fact else found.priority if found else "",
                activity=found or RuleActivity(name, "", 0, 0),
                per_day=found.count / days if found else 0.0,
                never=found is None,
                seconds=seconds,
                share=(seconds or 0) / total if total else 0.0,
                change=changes.get(name),
            )
        )
    return rows


def selected(rows: Sequence[RuleRow], chosen: RuleFilter) -> list[RuleRow]:
    """Return the rules that a filter selects, in its order."""
    found = [
        row
        for row in rows
        if has_name(row.name, chosen.name) and _has_state(row, chosen.state) and _has_technique(row, chosen.technique)
    ]
    keys = {
        "alerts": lambda row: (-row.activity.count, row.name),
        "cost": lambda row: (-(row.seconds or 0), row.name),
        "changed": lambda row: (-row.change.time if row.change else 0, row.name),
        "last": lambda row: (-row.activity.last, row.name),
        "name": lambda row: (row.name.casefold(), row.name),
    }
    return sorted(found, key=keys[chosen.sort])


def changes_of(known: KnownRules, earlier: Sequence[tuple[PastChange, Sequence[str]]]) -> dict[str, PastChange]:
    """Return the last change of each rule: of the published version, or earlier, as alerts report, in any order."""
    names = frozenset(each.name for each in known.rules)
    found: dict[str, PastChange] = {}
    version = known.version
    published = []
    if version is not None:
        published = [(PastChange(version.published // 1000, version.publisher, version.name, ""), version.changes)]
    for change, lines in sorted((*earlier, *published), key=lambda each: each[0].time):
        for line in lines:
            parsed = _changed_rule(line, names)
            if parsed is not None:
                found[parsed[0]] = replace(change, how=parsed[1])
    return found


def _changed_rule(line: str, names: frozenset[str]) -> tuple[str, str] | None:
    """Return the rule that a line of a difference is about, and how it changed; None if it is about none."""
    sign, _, rest = line.partition(" rule ")
    if sign == "~":
        # A name may have a colon in it: the longest that is a rule's counts.
        parts = rest.split(": ")
        for number in range(len(parts) - 1, 0, -1):
            if (name := ": ".join(parts[:number])) in names:
                return name, ": ".join(parts[number:])
        return None
    for how in ("added", "removed"):
        if sign in ("+", "-") and rest.endswith(f" {how}"):
            return rest[: -len(how) - 1], how
    return None


def _has_state(row: RuleRow, state: str) -> bool:
    holds = {
        "all": True,
        "fired": row.activity.count > 0,
        "quiet": row.is_on and not row.activity.count,
        "never": row.is_on and row.never,
        "off": row.facts is not None and not row.facts.enabled,
        "other": row.facts is None,
    }
    return holds[state]


def _has_technique(row: RuleRow, technique: str) -> bool:
    if not technique:
        return True
    number = technique.upper()
    found = techniques(row.facts.tags) if row.facts else ()
    return any(each.id == number or each.id.startswith(f"{number}.") for each in found)


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
