"""Encode and decode pushdown filters as JSON that earlier and later releases can read safely.

Each event type has a list of clauses, and each clause is an object whose members must all hold. A reader ignores
members, and predicates on subjects, that it doesn't know, which only lets more events through. So a new kind of
condition must be a new member, never a new meaning of an existing one, and never another alternative within one. Bytes
that are not a filter are rejected; the reader must then send every event.
"""

import json
from typing import Any

from schemas.errors import LannerError
from schemas.filter import Clause, PathPattern, Predicate, PushdownFilter

MAX_BYTES = 8 << 20
_U32 = 0xFFFFFFFF
_LONGEST_NAME = 1000


class BadFilter(LannerError, ValueError):
    """The bytes are not a pushdown filter, or the filter passes no event; the reader must send every event."""


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
        # Unlike for events, a missing list means none: an environment variable that no rule names may hold a secret.
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
            "begin": [_text(pattern) for pattern in sorted(clause.patterns) if pattern.is_prefix],
            "end": [_text(pattern) for pattern in sorted(clause.patterns) if not pattern.is_prefix],
        }
    return body


def _variable(name: Any) -> str:
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise BadFilter("invalid name of an environment variable")
    return name


def _text(pattern: PathPattern) -> str:
    return pattern.text.decode("utf-8", "surrogateescape")


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
