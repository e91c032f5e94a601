"""The pushdown filter: which events could match any rule, in terms that the BPF program can evaluate.

The processor derives it from the compiled rules; the collector writes it to BPF maps. It may only err by passing too
much: an event that a rule could match is never filtered out. A filter is a disjunction of clauses, and a clause is a
conjunction of conditions, so dropping a condition only lets more events through. This makes versions compatible: the
union of two filters has the clauses of both, and a reader drops the conditions that it doesn't know.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from foundation.errors import LannerError

EVERY_VARIABLE = "*"

PROGRAM_FILES = "proc.exe"
"""Among the names of environment variables, of which none has a dot: rules use what the files of programs are."""

OPENED_FILES = "fd.file"
"""Likewise: rules use what the files of code are that privileged programs open or map."""

READ, WRITE, CREATE, TRUNCATE = 1, 2, 4, 8
"""Bits of the subject ``open``: the purposes of an open."""

FAILED = 16
CLASSES = 32
"""Number of classes of a call: the combinations of the five bits above. Calls that open nothing use only FAILED."""

MAX_VALUES = 6
"""Limit of the values of a predicate. One with more values is dropped, which lets more events through."""

MAX_PREFIX = 120
"""Bytes of a path that are compared with a prefix. A NUL at the end of a prefix means that the path ends there."""

MAX_SUFFIX = 32


@dataclass(frozen=True, slots=True, order=True)
class Predicate:
    """A predicate on an event: true, false, or unknown, which satisfies either expectation.

    The subjects: ``failed`` (0 or 1), ``open`` (the bits above), ``result`` (clipped to 32 bits), ``uid``, ``family``
    (of the socket behind the event's descriptor; 0 if it is not a socket), ``local_port``, ``remote_port``,
    ``local_ip``, ``remote_ip`` (IPv4, as numbers), ``protocol``, ``answer`` (0 or 1: received
    from a name server), ``hello`` (0 or 1: sent a TLS ClientHello, or more of one), and ``arg.NAME``: the argument of
    that name in rules, as the program passed it, if it is a number.
    """

    subject: str
    mask: int
    """The bits of the subject that are compared, at most 32."""
    values: tuple[int, ...]
    """Sorted. The predicate is true if the masked subject is one of them."""


@dataclass(frozen=True, slots=True, order=True)
class PathPattern:
    """The paths that begin, or end, with a text."""

    is_prefix: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Clause:
    """A conjunction: an event of this type for which each predicate has its expected value and a path pattern matches.

    A pattern may match any path of the file: the argument, if it is absolute, and the kernel's own path.
    """

    event: str
    tests: frozenset[tuple[Predicate, bool]] = frozenset()
    patterns: frozenset[PathPattern] | None = None
    """None for any path."""


@dataclass(frozen=True, slots=True)
class PushdownFilter:
    """A filter: an event passes if it satisfies one of the clauses."""

    clauses: frozenset[Clause]
    variables: frozenset[str] = frozenset()
    """Names of the environment variables to collect at exec; EVERY_VARIABLE for all. PROGRAM_FILES is no
    variable."""

    @property
    def events(self) -> frozenset[str]:
        """The event types that could match a rule."""
        return frozenset(clause.event for clause in self.clauses)


def union(*filters: PushdownFilter | None) -> PushdownFilter | None:
    """Return the union of several filters; None passes everything, and so does the union of no filters."""
    known = [pushdown_filter for pushdown_filter in filters if pushdown_filter is not None]
    if not known or len(known) < len(filters):
        return None
    clauses = frozenset(clause for pushdown_filter in known for clause in pushdown_filter.clauses)
    variables = frozenset(name for pushdown_filter in known for name in pushdown_filter.variables)
    return PushdownFilter(without_narrower(clauses), variables)


def always(pushdown_filter: PushdownFilter, events: Iterable[str]) -> PushdownFilter:
    """Return the filter with event types added that always pass: for context and later queries."""
    return replace(
        pushdown_filter, clauses=without_narrower(pushdown_filter.clauses | {Clause(event) for event in events})
    )


def without_narrower(clauses: frozenset[Clause]) -> frozenset[Clause]:
    """Remove the clauses that are redundant because all events of their type pass."""
    whole = {clause.event for clause in clauses if not clause.tests and clause.patterns is None}
    return frozenset(clause for clause in clauses if clause.event not in whole or clause == Clause(clause.event))


MAX_BYTES = 8 << 20
_U32 = 0xFFFFFFFF
_LONGEST_NAME = 1000
_VERSION = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


class BadFilter(LannerError, ValueError):
    """The bytes are not a pushdown filter, or the filter passes no event; the reader must send every event."""


def is_version(text: str) -> bool:
    """Return whether a text names a version of published rules; the filters of a fleet have these as keys."""
    return _VERSION.fullmatch(text) is not None


def encode_filter(pushdown_filter: PushdownFilter) -> bytes:
    """Encode a filter; equal filters have equal bytes."""
    events: dict[str, list[dict[str, Any]]] = {}
    for clause in pushdown_filter.clauses:
        events.setdefault(clause.event, []).append(_written(clause))
    for clauses in events.values():
        clauses.sort(key=json.dumps)
    body = {"environment": sorted(pushdown_filter.variables), "events": events}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode("ascii")


def decode_filter(data: bytes) -> PushdownFilter:
    """Decode a filter that any release wrote.

    Raises:
        BadFilter: it is not a filter, it is empty, or it is too long; the caller must send every event.
    """
    if len(data) > MAX_BYTES:
        raise BadFilter(f"the filter has {len(data)} bytes; the limit is {MAX_BYTES}")
    try:
        body = json.loads(data)
        clauses = frozenset(_read(event, clause) for event, found in body["events"].items() for clause in found)
        # Unlike for events, a missing list means none: an environment variable that no rule names may contain a secret.
        variables = frozenset(_variable(name) for name in body.get("environment", ()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise BadFilter(f"not a pushdown filter: {error or type(error).__name__}") from error
    if not clauses:
        raise BadFilter("an empty filter")
    return PushdownFilter(clauses, variables)


def _written(clause: Clause) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if clause.tests:
        body["tests"] = [
            {"of": test.subject, "mask": test.mask, "in": list(test.values), "is": expected}
            for test, expected in sorted(clause.tests)
        ]
    if clause.patterns is not None:
        body["paths"] = {
            "begin": _texts(pattern.text for pattern in clause.patterns if pattern.is_prefix),
            "end": _texts(pattern.text for pattern in clause.patterns if not pattern.is_prefix),
        }
    return body


def _variable(name: Any) -> str:
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise BadFilter("invalid name of an environment variable")
    return name


def _texts(paths: Iterable[bytes]) -> list[str]:
    # In the order of their bytes, which others compare with.
    return [path.decode("utf-8", "surrogateescape") for path in sorted(paths)]


def _read(event: str, body: dict[str, Any]) -> Clause:
    tests = frozenset(
        (_test(found), found["is"] is not False) for found in body.get("tests", ()) if isinstance(found["is"], bool)
    )
    paths = body.get("paths")
    patterns = None
    if paths is not None:
        patterns = frozenset(
            PathPattern(is_prefix, text.encode("utf-8", "surrogateescape"))
            for is_prefix, kind in ((True, "begin"), (False, "end"))
            for text in paths[kind]
        )
        if any(not pattern.text for pattern in patterns):
            raise BadFilter("an empty path")
    return Clause(event, tests, patterns)


def _test(found: dict[str, Any]) -> Predicate:
    subject, mask, values = found["of"], found["mask"], tuple(sorted(found["in"]))
    if not isinstance(subject, str) or not all(
        type(number) is int and 0 <= number <= _U32 for number in (mask, *values)
    ):
        raise BadFilter(f"invalid test: {found}")
    return Predicate(subject, mask, values)
