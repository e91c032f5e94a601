"""The messages from detection to correlation: events that match a part of a stateful rule, notices, counts of repeats.

A message contains all that correlation needs, so that it never reads the batch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from processor.output.internal_alerts import Cause
from schemas.alert import Alert, Value, bounded, encode_alert
from schemas.distinct_values import Values

PARTS = 64
"""The number of parts of a lookback: the precision of its end."""
_SECOND = 1_000_000_000
_SLACK = 8
"""The number of parts by which a value is stored longer, since events may be processed late."""


@dataclass(frozen=True, slots=True)
class SeenGroup:
    """The record of a group, without its values."""

    begun: int
    """Arrival of its first event, ns."""
    overflows: tuple[tuple[int, int], ...] = ()
    """The shares for whose values there was no room, with the time since which, s."""


@dataclass(frozen=True, slots=True)
class SeenValue:
    """One value of a group."""

    value: str
    seen: int
    """Arrival of the newest sighting, s; 0 marks a value that was forgotten."""
    mark: int = 0
    """Identifies the event for which the value was new, so that its redelivery is recognized."""
    share: int = 0
    """The share to which it counts; 0 if only the host is known."""
    is_private: bool = False
    """True if it is known only for its share."""


@dataclass(frozen=True, slots=True)
class Span:
    """The times of a macro."""

    lookback: int
    """s."""
    learning: int
    """ns."""
    hosts: int = 0
    """The number of hosts from which on prevalence is false; 0 for first_seen."""

    @classmethod
    def of(cls, lookback: int, learning: int, hosts: int = 0) -> "Span":
        """Return the span of a macro. lookback, learning: ns. hosts: the threshold of prevalence."""
        return cls(max(1, lookback // _SECOND), learning, hosts)

    @property
    def part(self) -> int:
        """The length of a part, s."""
        return max(1, self.lookback // PARTS)

    def is_known(self, seen: int, arrival: int) -> bool:
        """Return whether a value seen at one time is still known at another; both in s."""
        return arrival // self.part - seen // self.part <= self._parts

    def is_past(self, seen: int, now: int) -> bool:
        """Return whether no event can need a sighting any longer; both in s."""
        return now // self.part - seen // self.part > self._parts + _SLACK

    def is_newer(self, arrival: int, seen: int) -> bool:
        """Return whether a sighting is so much newer than another that it replaces it; both in s."""
        return arrival // self.part > seen // self.part

    @property
    def _parts(self) -> int:
        return -(-self.lookback // self.part)


def seconds_of(arrival: int) -> int:
    """Return a time in s. arrival: ns."""
    return arrival // _SECOND


EventKey = tuple[int, int, int]
"""Event time in ns, then the origin: the position among its source's events, and the source. Unique for each event."""

Group = tuple[str | None, ...]
"""Values of the group-by fields; None only if no window uses this group."""

Action = Literal["learn", "begin", "reset"]
LONGEST_VALUE = 256
"""Characters of a group value or a counted value; a hash replaces the rest."""
INDEX_BITS = 20
"""Bits of a position for the event's index within its batch."""


@dataclass(frozen=True, slots=True)
class EventOrigin:
    """Identifies an event by its batch and index; the same however often the event is delivered."""

    host_id: str
    boot_id: str
    collector_start: int
    sequence: int
    index: int

    @property
    def source(self) -> int:
        """A hash of the collector's run, whose events arrive in order, as a signed 64-bit number."""
        return _source(self.host_id, self.boot_id, self.collector_start)

    @property
    def position(self) -> int:
        """The position of the event within its source; it grows with time."""
        return self.sequence << INDEX_BITS | self.index

    def stamp(self, time: int) -> EventKey:
        """Return the event's key. time: event time, ns."""
        return (time, self.position, self.source)


@lru_cache(maxsize=4096)
def _source(host_id: str, boot_id: str, collector_start: int) -> int:
    text = f"{host_id}\x1f{boot_id}\x1f{collector_start}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Feed:
    """A term of a leg's condition that the event satisfies."""

    term: str
    value: str | None = None
    """The value that value_count counts, or that first_seen looks up; of prevalence, what tells apart events that are
    sent."""
    stored: Mapping[str, Value] = field(default_factory=dict)
    """The fields of this leg's event that outputs name."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a possible alert."""

    texts: tuple[str, ...]
    """The output's text, split at its ``%correlation`` tokens."""
    fields: Mapping[str, Value]
    """Its output fields, without those of ``%correlation``."""
    event: Mapping[str, Value]
    """The whole event by field name."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A term of a rule's condition that the event satisfies: an alert if the windows' conditions are met."""

    term: str
    by: Group
    """Values of the fields by which repeats of the rule are suppressed."""
    content: Callable[[], Content] | None
    """Returns the content of the alert; called late, since few candidates become alerts and formatting is expensive.
    None if the match can only be counted."""


@dataclass(frozen=True, slots=True)
class Relay:
    """The event's message for another group, to send if the event matches rules that count by this group."""

    group: Group
    """The other group."""
    feeds: tuple[Feed, ...]
    """Legs that need such rules, and legs that depend on these."""
    candidates: tuple[Candidate, ...] = ()
    relays: tuple["Relay", ...] = ()
    """Messages that the other group may send to further groups."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A report about Lanner itself, caused by a batch."""

    kind: str
    """The rule name of its alert."""
    priority: str
    """As Falco prints it."""
    numbers: Mapping[str, int]
    """The numbers to sum, by name."""
    text: str = ""
    """The text of the newest notice is shown."""


@dataclass(frozen=True, slots=True)
class RepeatedAlert:
    """The count of alerts in one batch that repeat an alert that was sent."""

    first_id: str
    """Id of the alert that was sent."""
    first: int
    """Its event time, ns."""
    count: int
    last: int
    """Event time of the newest counted alert, ns."""
    period: int
    """How long repeats are counted, ns."""
    alert: bytes
    """One of the counted alerts, encoded, with the id of the alert that was sent."""
    values: Values = field(default_factory=dict)
    """The values of the counted alerts in fields in which they may differ."""


@dataclass(frozen=True, slots=True)
class StateCommand:
    """A change of a macro's state for a group."""

    action: Action
    """learn: the group had a value at a time; begin: all its values since then are learned; reset: forget."""
    owner: str
    """Fingerprint of the macro."""
    value: str | None = None
    """The value of first_seen; None for the whole group."""
    is_everywhere: bool = False
    """Reset all groups of the partition."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user, container and host that caused an event and whose budgets its messages use."""

    host_id: str = ""
    """A host, or a source of JSON."""
    container: str = ""
    user: str = ""

    @property
    def levels(self) -> tuple["Account", "Account", "Account"]:
        """This account, that of its container, and that of its host."""
        return self, Account(self.host_id, self.container), Account(self.host_id)


@dataclass(frozen=True, slots=True)
class PreMatch:
    """One event for one group, a notice about its host, a count of repeated alerts, or a command about its state."""

    origin: EventOrigin
    time: int
    """Event time, ns."""
    hostname: str
    group: Group
    feeds: tuple[Feed, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    appended: int = 0
    """When the event's batch was appended, by the broker's clock, ns; 0 if unknown."""
    is_established: bool = True
    """True if the event's host counts as a known one and not as a newcomer."""
    weight: int = 1
    """The number of equal events that it represents: evt.count."""
    notice: Notice | None = None
    repeated: RepeatedAlert | None = None
    command: StateCommand | None = None
    relays: tuple[Relay, ...] = ()
    via: int = 0
    """A hash of the groups that relayed the event, as a signed 64-bit number; 0 if it comes from detection."""
    earlier: tuple["PreMatch", ...] = ()
    """Earlier events of the same batch and group that are sent in its message: their matches have no content."""
    is_partial: bool = False
    """True if earlier events that its windows would count were left out."""
    account: Account = Account()
    """The account that caused it; used only by detection."""

    @property
    def match_stamp(self) -> EventKey:
        """The key of a match: each path through groups has an order of its own and counts as a source of matches."""
        stamp = self.origin.stamp(self.time)
        return (*stamp[:2], stamp[2] ^ self.via) if self.via else stamp


def command_about(command: StateCommand, group: Group, host: str, time: int) -> PreMatch:
    """Return a command as a message.

    Args:
        command: what to change.
        group: of the macro.
        host: to which the group counts; empty for newcomers.
        time: that of the value or the beginning, ns since the epoch.
    """
    return PreMatch(
        EventOrigin(host, "", 0, 0, 0), time, "", group, appended=time, is_established=bool(host), command=command
    )


def combined(values: Sequence[str]) -> str:
    """Return several values as one text; different values have different texts."""
    return values[0] if len(values) == 1 else json.dumps(values, separators=(",", ":"))


def parts_of(text: str, count: int) -> tuple[str, ...]:
    """Return the values from which `combined` made a text. count: their number."""
    return (text,) if count == 1 else tuple(json.loads(text))


def clipped(value: str) -> str:
    """Shorten a long value; different values stay different."""
    if len(value) <= LONGEST_VALUE:
        return value
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{value[: LONGEST_VALUE - 17]}#{digest}"


QUIET = 300_000_000_000
"""How long further notices are only summed, ns."""


def notice_of(
    cause: Cause,
    notice: Notice,
    *,
    index: int = 0,
    appended: int = 0,
    is_established: bool = True,
    group: tuple[str, ...] = (),
) -> PreMatch:
    """Return a notice as a pre-match.

    Args:
        cause: the batch that caused it.
        notice: the report.
        index: distinguishes several parts of one batch.
        appended: when the cause was appended, by the broker's clock, ns.
        is_established: whether the host counts as a known one.
        group: the values by which notices of one kind are summed; empty for the host.
    """
    return PreMatch(
        EventOrigin(cause.host_id, *cause.batch, index),
        cause.time,
        cause.hostname,
        group or (cause.host_id,),
        appended=appended,
        is_established=is_established,
        notice=notice,
    )


_MAX_TEXT_BYTES = 4 << 10
_MAX_ALERT_BYTES = 32 << 10
"""Limits of an alert that is stored for a summary: there is one per group."""


def retained(alert: Alert) -> bytes:
    """Return an alert as it is stored for a summary: encoded, long texts clipped."""
    return encode_alert(bounded(alert, lambda texts: texts.within(_MAX_TEXT_BYTES, _MAX_ALERT_BYTES)))
