"""Where the console learns about hosts and rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lanner.recorder.host_tally import FleetHost


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
