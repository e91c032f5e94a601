"""An interest as bytes: JSON that readers of any age understand, and safe where they don't.

Each event type has its ways, each way is an object whose members must all hold. A reader leaves out members, and
tests on subjects, that it doesn't know: that only lets more through. So a new kind of condition is a new member, never
another meaning of an old one, and never another alternative within one. Bytes that aren't an interest are refused:
whoever gets such has to take everything as of interest.
"""

import json
from typing import Any

from schemas.errors import LannerError
from schemas.filter import Clause, PathPattern, Predicate, PushdownFilter

MAX_BYTES = 8 << 20
_U32 = 0xFFFFFFFF
_LONGEST_NAME = 1000


class BadFilter(LannerError, ValueError):
    """Bytes that are no interest, or none that lets anything through: everything has to be sent."""


def encode_filter(interest: PushdownFilter) -> bytes:
    """Write an interest; equal ones give equal bytes."""
    events: dict[str, list[dict[str, Any]]] = {}
    for way in interest.ways:
        events.setdefault(way.event, []).append(_written(way))
    for ways in events.values():
        ways.sort(key=json.dumps)
    body = {"environment": sorted(interest.variables), "events": events}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode("ascii")


def decode_filter(data: bytes) -> PushdownFilter:
    """Read what any release wrote.

    Raises:
        BadInterest: it is none, it is empty, or it is too long; the caller sends everything then.
    """
    if len(data) > MAX_BYTES:
        raise BadFilter(f"an interest of {len(data)} bytes: at most {MAX_BYTES} are taken")
    try:
        body = json.loads(data)
        ways = frozenset(_read(event, way) for event, found in body["events"].items() for way in found)
        # Not the other way round here: what is not asked for in so many words may be a secret.
        variables = frozenset(_variable(name) for name in body.get("environment", ()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFilter(f"not an interest: {error or type(error).__name__}") from error
    if not ways:
        raise BadFilter("an empty interest")
    return PushdownFilter(ways, variables)


def _written(way: Clause) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if way.tests:
        body["tests"] = [
            {"of": test.subject, "mask": test.mask, "in": list(test.values), "is": expected}
            for test, expected in sorted(way.tests)
        ]
    if way.places is not None:
        body["paths"] = {
            "begin": [_text(place) for place in sorted(way.places) if place.is_prefix],
            "end": [_text(place) for place in sorted(way.places) if not place.is_prefix],
        }
    return body


def _variable(name: Any) -> str:
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise BadFilter("a name of a variable that is none")
    return name


def _text(place: PathPattern) -> str:
    return place.text.decode("utf-8", "surrogateescape")


def _read(event: str, body: dict[str, Any]) -> Clause:
    tests = frozenset(
        (_test(found), found["is"] is not False) for found in body.get("tests", ()) if isinstance(found["is"], bool)
    )
    paths = body.get("paths")
    places = None
    if paths is not None:
        places = frozenset(
            PathPattern(is_prefix, text.encode("utf-8", "surrogateescape"))
            for is_prefix, kind in ((True, "begin"), (False, "end"))
            for text in paths[kind]
        )
        if any(not place.text for place in places):
            raise BadFilter("a path of no characters")
    return Clause(event, tests, places)


def _test(found: dict[str, Any]) -> Predicate:
    subject, mask, values = found["of"], found["mask"], tuple(sorted(found["in"]))
    if not isinstance(subject, str) or not all(
        type(number) is int and 0 <= number <= _U32 for number in (mask, *values)
    ):
        raise BadFilter(f"a test that is none: {found}")
    return Predicate(subject, mask, values)
