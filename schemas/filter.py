"""Interest: which events could matter to any rule, in words that the kernel side can judge by.

The processor derives it from the compiled rules, the collector puts it into maps. It may only err on the side of
passing: an event that a rule could match is never left out. It is a list of ways to matter; a way says what must hold
of an event, all of it together, so leaving one of its conditions out only lets more through. That is what makes
versions mix: the union of two interests is all ways of both, and a reader that doesn't know a condition leaves it out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

EVERY_VARIABLE = "*"

READ, WRITE, CREATE, TRUNCATE = 1, 2, 4, 8
"""Bits of what an open is for: the subject ``open``."""

FAILED = 16
CLASSES = 32
"""Classes of a call: each combination of the five bits above; calls that open nothing have FAILED only."""

MAX_VALUES = 6
"""Values that a test compares with; one of more is left out, which lets more through."""

MAX_PREFIX = 120
"""Bytes of a path that a prefix is judged by; a NUL at the end of a prefix means that the path ends there."""

MAX_SUFFIX = 32


@dataclass(frozen=True, slots=True, order=True)
class Predicate:
    """A question about an event that has three answers: yes, no, and "can't tell", which counts as either.

    The subjects: ``failed`` (0 or 1), ``open`` (the bits above), ``result`` (clipped to 32 bits), ``uid``, ``family``
    (of the socket behind the event's descriptor; 0 where that is no socket), ``local_port``, ``remote_port``,
    ``local_ip``, ``remote_ip`` (IPv4, as numbers), ``protocol``, and ``arg.NAME``: the argument that rules call so, as
    the program passed it, where it is a number.
    """

    subject: str
    mask: int
    """Bits of the subject, 32 at most, that are compared."""
    values: tuple[int, ...]
    """Sorted; yes if what is left by the mask is one of them."""


@dataclass(frozen=True, slots=True, order=True)
class PathPattern:
    """A set of paths: those that begin or end with a text."""

    is_prefix: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Clause:
    """One way to matter: an event of this type for which each test answers as said, with a path at one of the places.

    The path is any that the file has: as given where that is absolute, and the kernel's own.
    """

    event: str
    tests: frozenset[tuple[Predicate, bool]] = frozenset()
    places: frozenset[PathPattern] | None = None
    """None: anywhere."""


@dataclass(frozen=True, slots=True)
class PushdownFilter:
    """One version of it."""

    ways: frozenset[Clause]
    variables: frozenset[str] = frozenset()
    """Names of the environment variables that are asked for, at exec; EVERY_VARIABLE among them for all."""

    @property
    def events(self) -> frozenset[str]:
        """The event types that could matter at all."""
        return frozenset(way.event for way in self.ways)


def union(*interests: PushdownFilter | None) -> PushdownFilter | None:
    """Give what could matter to any of several versions; None is everything, and so is the union of nothing.

    Args:
        interests: of live versions of rules; None where a version could not be read.
    """
    known = [interest for interest in interests if interest is not None]
    if not known or len(known) < len(interests):
        return None
    ways = frozenset(way for interest in known for way in interest.ways)
    variables = frozenset(name for interest in known for name in interest.variables)
    return PushdownFilter(without_narrower(ways), variables)


def always(interest: PushdownFilter, events: Iterable[str]) -> PushdownFilter:
    """Add event types of which everything is sent, whatever the rules ask.

    Args:
        interest: of the rules.
        events: event types, of which each event is kept for context and for later questions.
    """
    return replace(interest, ways=without_narrower(interest.ways | {Clause(event) for event in events}))


def without_narrower(ways: frozenset[Clause]) -> frozenset[Clause]:
    """Leave out the ways of event types that matter whatever holds of them."""
    whole = {way.event for way in ways if not way.tests and way.places is None}
    return frozenset(way for way in ways if way.event not in whole or way == Clause(way.event))
