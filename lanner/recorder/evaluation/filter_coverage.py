"""Decides whether everything that rules need was collected, from the filters that collectors report.

Pure, and sound: it is true only if each clause of the new filter implies a clause of the old one.
"""

import zlib

from schemas.encoding.filter_json import MAX_BYTES, BadFilter, decode_filter
from schemas.filter import Clause, PathPattern, PushdownFilter


def read_filter(encoded: bytes) -> PushdownFilter | None:
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
    wider = [clause for clause in then.clauses if clause.event == event]
    return all(any(_within(clause, each) for each in wider) for clause in now.clauses if clause.event == event)


def _within(clause: Clause, wider: Clause) -> bool:
    if not wider.tests <= clause.tests:
        return False
    if wider.patterns is None:
        return True
    return clause.patterns is not None and all(
        any(_inside(pattern, each) for each in wider.patterns) for pattern in clause.patterns
    )


def _inside(pattern: PathPattern, wider: PathPattern) -> bool:
    if pattern.is_prefix != wider.is_prefix:
        return False
    return pattern.text.startswith(wider.text) if pattern.is_prefix else pattern.text.endswith(wider.text)
