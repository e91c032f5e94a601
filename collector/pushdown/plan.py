"""What a collector has to send: the union of what the live versions of a fleet's rules ask for, or of rule files.

Pure. What can't be understood means that everything is sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.encoding.filter_json import BadFilter, decode_filter
from schemas.filter import PushdownFilter, always, union
from schemas.published_rules import is_version

EVERYTHING = "*"
"""As a version: nothing is left out."""
MAX_VERSIONS = 8
"""Alive at a time; with more, everything is sent."""


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What is to be sent."""

    interest: PushdownFilter | None
    """None for everything."""
    versions: frozenset[str] = frozenset()
    """Of the rules that asked for it; none where rule files did."""


def wanted(entries: Mapping[bytes, bytes], own: PushdownFilter, always_sent: Iterable[str]) -> CollectionPlan:
    """Say what is to be sent.

    Args:
        entries: of the topic, by key.
        own: of this host's rule files, for where there are none.
        always_sent: event types that are sent whatever is asked.
    """
    if not entries:
        return CollectionPlan(always(own, always_sent))
    if len(entries) > MAX_VERSIONS or not all(is_version(key.decode("latin-1")) for key in entries):
        return CollectionPlan(None, frozenset({EVERYTHING}))
    try:
        joined = union(*(decode_filter(value) for value in entries.values()))
    except BadFilter:
        joined = None
    if joined is None:
        return CollectionPlan(None, frozenset({EVERYTHING}))
    return CollectionPlan(always(joined, always_sent), frozenset(key.decode() for key in entries))


def common(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Give the versions that both stand for; * stands for every version."""
    if EVERYTHING in some:
        return others
    return some if EVERYTHING in others else some & others
