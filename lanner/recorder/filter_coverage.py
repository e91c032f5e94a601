"""Whether all that rules look for was collected, by what collectors say that they asked the kernel for.

Pure, and sound: it says so only where each way in which an event could matter now lies within one of then.
"""

import zlib

from schemas.encoding.filter_json import MAX_BYTES, BadFilter, decode_filter
from schemas.filter import Clause, PathPattern, PushdownFilter


def read_interest(told: bytes) -> PushdownFilter | None:
    """Read what a batch tells; None where it is nothing that can be read: a host may be taken over."""
    try:
        return decode_filter(zlib.decompressobj().decompress(told, MAX_BYTES))
    except (zlib.error, BadFilter):
        return None


def covers(then: PushdownFilter, now: PushdownFilter, event: str) -> bool:
    """Tell whether every event of a type that could matter now could matter then.

    Args:
        then: what was collected.
        now: what rules look for.
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
