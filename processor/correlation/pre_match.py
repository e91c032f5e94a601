"""What crosses from detection to correlation: an event that a window or a rule with memory has to know of, or a notice.

It carries all that the second stage needs, so that no one there looks for the batch again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from processor.correlation.windows.outcome import EventKey
from schemas.alert import Value

Group = tuple[str | None, ...]
"""Values of the group-by fields; None only where no window is asked for this group."""

LONGEST_VALUE = 256
"""Characters of a group's value or of a counted one: the rest is told by a hash."""
INDEX_BITS = 20
"""Of an event's index within its batch, in its position."""


@dataclass(frozen=True, slots=True)
class EventOrigin:
    """Which event of which batch: the same for ever, however often the event is delivered."""

    host_id: str
    boot_id: str
    collector_start: int
    sequence: int
    index: int

    @property
    def source(self) -> int:
        """A hash of the run of a collector whose events come in order, as a signed 64-bit number."""
        return _source(self.host_id, self.boot_id, self.collector_start)

    @property
    def position(self) -> int:
        """The event's place among its source's: it grows with time."""
        return self.sequence << INDEX_BITS | self.index

    def stamp(self, time: int) -> EventKey:
        """Give the event's stamp. time: the event's, ns."""
        return (time, self.position, self.source)


@lru_cache(maxsize=4096)
def _source(host_id: str, boot_id: str, collector_start: int) -> int:
    text = f"{host_id}\x1f{boot_id}\x1f{collector_start}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Feed:
    """The event satisfies one term of a leg's condition."""

    term: str
    value: str | None = None
    """What value_count counts."""
    kept: Mapping[str, Value] = field(default_factory=dict)
    """The fields of this leg's event that outputs name."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an alert would say."""

    texts: tuple[str, ...]
    """The output's text, cut where ``%correlation`` stands in it."""
    fields: Mapping[str, Value]
    """Its output fields, without those of ``%correlation``."""
    event: Mapping[str, Value]
    """The whole event by field name."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """The event satisfies one term of a rule's condition: an alert, if the windows agree."""

    term: str
    by: Group
    """Values of the fields that the rule's repeats are told by."""
    content: Callable[[], Content]
    """Gives what the alert would say: most candidates never become one, and to write it costs most of the work."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about Lanner itself that a batch made known."""

    kind: str
    """The name of the rule that its alert has."""
    priority: str
    """As Falco prints it."""
    numbers: Mapping[str, int]
    """What is summed, by name."""
    text: str = ""
    """The newest of it is shown."""


@dataclass(frozen=True, slots=True)
class RepeatedAlert:
    """Alerts of one batch that repeat one that was sent, counted."""

    first_id: str
    """Id of the alert that was sent."""
    first: int
    """Its event time, ns."""
    count: int
    last: int
    """Event time of the newest of those counted, ns."""
    period: int
    """How long such are counted, ns."""
    alert: bytes
    """One of those counted, encoded, under the id of the alert that was sent."""


@dataclass(frozen=True, slots=True)
class PreMatch:
    """One event for one group, a notice about its host, or a count of repeated alerts."""

    origin: EventOrigin
    time: int
    """Event time, ns."""
    hostname: str
    group: Group
    feeds: tuple[Feed, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    appended: int = 0
    """When the event's batch was appended, by the broker's clock, ns; 0 where that is not known."""
    is_established: bool = True
    """Whether the event's host counts as a known one and not as a newcomer."""
    weight: int = 1
    """How many equal events it stands for: evt.count."""
    notice: Notice | None = None
    repeated: RepeatedAlert | None = None


def clipped(value: str) -> str:
    """Shorten a value that is longer than is kept; values that differ stay different."""
    if len(value) <= LONGEST_VALUE:
        return value
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{value[: LONGEST_VALUE - 17]}#{digest}"
