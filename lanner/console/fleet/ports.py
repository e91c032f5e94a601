"""Where the console learns about hosts and rules: the ports, and what has them of this process and its host."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Protocol

from lanner.errors import BadInput
from lanner.recorder.host_tally import FleetHost, HostTally
from lanner.ruleset.active import ActiveRules
from processor.language.ast import deep
from processor.language.printer import print_condition
from processor.loading import Rule
from schemas.batch import EventBatch
from schemas.catalog.priorities import Priority
from schemas.encoding.batch import head_of

_MAX_ERRORS = 5
MAX_CONDITION = 20_000
"""Characters of a condition that are shown."""


def has_name(name: str, pattern: str) -> bool:
    """Return whether a name has a text in it, or matches a pattern in which `*` is any text; case doesn't matter.

    It takes linear time, unlike a regular expression: whoever can open a page can choose the pattern.
    """
    text = name.casefold()
    first, *others = pattern.casefold().split("*")
    if not others:
        return first in text
    *middle, last = others
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(last) and len(text) - len(last) >= at


@dataclass(frozen=True, slots=True)
class HostsReading:
    """The hosts as they were read last."""

    hosts: Sequence[FleetHost] = ()
    read_at: int = 0
    """ms since the epoch; 0 if they were not read yet."""
    unknown: str = ""
    """Why nothing is known about hosts, as a sentence; empty if something is, or will be."""
    error: str = ""
    """Why they can't be read now."""


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """A rule, as it is in its file."""

    name: str
    priority: str
    enabled: bool
    tags: tuple[str, ...]
    event_types: frozenset[str]
    description: str
    response: str
    condition: str
    exceptions: tuple[str, ...]
    place: str
    """File and line."""


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """A published version of the rules."""

    name: str
    published: int
    """ns since the epoch."""
    publisher: str
    host: str
    comment: str
    signed_by: str
    """Id of the key; empty if no signature is required."""
    changes: tuple[str, ...]
    """Since the version before, one line each."""


@dataclass(frozen=True, slots=True)
class KnownRules:
    """The rules, and what evaluating them costs."""

    rules: Sequence[RuleFacts] = ()
    origin: str = ""
    """Where they are from, in words."""
    version: RulesVersion | None = None
    """None if they are not published."""
    problem: str = ""
    """Why they can't be shown, or shouldn't be relied on."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By rule, the estimated time to evaluate it alone, added up over processes, since their starts."""
    costs: str = ""
    """Where the costs are from, or why they aren't known, as a sentence."""

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that enabled rules name."""
        return frozenset().union(*(each.event_types for each in self.rules if each.enabled))


class FleetSource(Protocol):
    """The facts about hosts and rules; all calls are from any thread."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to read; call on_change on any thread when something changed."""

    def hosts(self) -> HostsReading:
        """Return the hosts; they are read again for whoever calls it."""

    def rules(self) -> KnownRules:
        """Return the rules."""

    def stop(self) -> None:
        """Stop reading."""


def facts_of(active: ActiveRules, floor: Priority) -> tuple[RuleFacts, ...]:
    """Return the facts of rules. floor: rules of a lower priority are not evaluated."""
    with deep():
        return tuple(_facts(rule, floor) for rule in active.rules)


class RuleFiles:
    """The rules of files as pages show them; made once for each time that they were loaded."""

    def __init__(self, floor: Priority, active: Callable[[], ActiveRules], origin: str) -> None:
        """Take what returns the rules, and their origin as a sentence. floor: lower rules are not evaluated."""
        self._floor = floor
        self._active = active
        self._origin = origin
        self._made: tuple[ActiveRules, KnownRules] | None = None

    def known(self) -> KnownRules:
        """Return the rules; if they can't be loaded, why."""
        try:
            active = self._active()
        except BadInput as error:
            return KnownRules(problem=f"The rule files can't be loaded: {' '.join(error.messages[:_MAX_ERRORS])}")
        made = self._made
        if made is None or made[0] is not active:
            made = self._made = active, KnownRules(facts_of(active, self._floor), self._origin)
        return made[1]


def _facts(rule: Rule, floor: Priority) -> RuleFacts:
    return RuleFacts(
        name=rule.name,
        priority=str(rule.priority),
        enabled=rule.enabled and rule.priority <= floor,
        tags=rule.tags,
        event_types=rule.event_types,
        description=rule.description.strip(),
        response=rule.response.strip(),
        condition=print_condition(rule.condition, expand_macros=False)[:MAX_CONDITION],
        exceptions=rule.active_exceptions,
        place=f"{rule.file}:{rule.line}",
    )


class FilesOnly:
    """Knows what is in files: no states of hosts."""

    def __init__(self, floor: Priority, rules: Callable[[], ActiveRules]) -> None:
        """Take what returns the rules of files, as RuleFiles does."""
        origin = "The rule files of this host. The alerts of a recording may be of others."
        self._files = RuleFiles(floor, rules, origin)

    def start(self, on_change: Callable[[], None]) -> None:
        """Do nothing: files don't change what is known."""

    def hosts(self) -> HostsReading:
        """Return why hosts are not known."""
        return HostsReading(
            unknown="A recording holds alerts and events. Whether its hosts are silent, lose events or have a wrong "
            "clock is not in it; the hosts named in its alerts are filters of the alerts."
        )

    def rules(self) -> KnownRules:
        """Return the rules of this host's files."""
        return replace(self._files.known(), costs="It is measured while rules run; a recording doesn't contain it.")

    def stop(self) -> None:
        """Do nothing."""


class LocalHost:
    """Takes batches on the thread that detects, and is asked on others."""

    def __init__(self, floor: Priority) -> None:
        """Begin without a batch. floor: rules of a lower priority are not evaluated."""
        self._floor = floor
        self._files: RuleFiles | None = None
        self._seconds: Callable[[], Mapping[str, float]] = dict
        self._tally = HostTally()
        self._has_any = False
        self._lock = Lock()

    def see(self, batch: EventBatch) -> None:
        """Record a batch."""
        with self._lock:
            self._has_any = True
            self._tally.see(head_of(batch), time.time_ns() // 1_000_000)

    def attach(self, rules: Callable[[], ActiveRules], seconds: Callable[[], Mapping[str, float]]) -> None:
        """Take what returns the active rules and the seconds that each took."""
        self._files, self._seconds = RuleFiles(self._floor, rules, "The rules of this host."), seconds

    def start(self, on_change: Callable[[], None]) -> None:
        """Do nothing: pages are read again when alerts come."""

    def hosts(self) -> HostsReading:
        """Return this host, once it has made a batch."""
        with self._lock:
            now = time.time_ns() // 1_000_000
            return HostsReading([self._tally.host()], now) if self._has_any else HostsReading()

    def rules(self) -> KnownRules:
        """Return the active rules."""
        if self._files is None:
            return KnownRules(problem="The rules are not active yet.")
        seconds = dict(list(self._seconds().items()))
        return replace(self._files.known(), seconds=seconds, costs="Estimated from samples, since the start.")

    def stop(self) -> None:
        """Do nothing."""
