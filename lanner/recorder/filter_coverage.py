"""Decides whether everything that rules need was collected, from the filters that collectors report.

Pure, and sound: it is true only if each clause of the new filter implies a clause of the old one.
"""

import zlib

from schemas.encoding.filter_json import MAX_BYTES, BadFilter, decode_filter
from schemas.filter import Clause, PathPattern, PushdownFilter


def read_interest(encoded: bytes) -> PushdownFilter | None:
    """Decode a filter from a batch; None if it is invalid: a host may be compromised."""
    try:
        return decode_filter(zlib.decompressobj().decompress(encoded, MAX_BYTES))
    except (zlib.error, BadFilter):
        return None


def covers(then: PushdownFilter, now: PushdownFilter, event: str) -> bool:
    """Return whether every event of a type that matches a filter now matched the one then.

    Args:
        then: the filter of the collector.
        now: the filter of the rules.
        event: the event type.
    """
    wider = [way for way in then.ways if way.event == event]
    return all(any(_within(way, each) for each in wider) for way in now.ways if way.event == event)


def _within(way: Clause, wider: Clause) -> bool:
    if not wider.tests <= way.tests:
        return False
    if wider.places is None:
        return True
    return way.places is not None and all(any(_inside(place, each) for each in wider.places) for place in way.places)


def _inside(place: PathPattern, wider: PathPattern) -> bool:
    if place.is_prefix != wider.is_prefix:
        return False
    return place.text.startswith(wider.text) if place.is_prefix else place.text.endswith(wider.text)
