"""What a collector sends: the union of the filters of all live rule versions in the fleet, or that of local rule files.

Pure. A filter that can't be decoded means that everything is sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.encoding.filter_json import BadFilter, decode_filter
from schemas.filter import PushdownFilter, always, union
from schemas.records.published_rules import is_version

EVERYTHING = "*"
"""As a version: nothing is filtered."""
MAX_VERSIONS = 8
"""Live versions at a time; with more, everything is sent."""


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """The event types and filter to collect by."""

    pushdown_filter: PushdownFilter | None
    """None sends everything."""
    versions: frozenset[str] = frozenset()
    """Versions of the rules covered; empty for local rule files."""


def collection_plan(entries: Mapping[bytes, bytes], own: PushdownFilter, always_sent: Iterable[str]) -> CollectionPlan:
    """Compute what to send.

    Args:
        entries: the filter topic's entries, by key.
        own: filter of this host's rule files, used while the topic is empty.
        always_sent: event types that are always sent.
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


def common_versions(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Return the versions in both sets; * stands for every version."""
    if EVERYTHING in some:
        return others
    return some if EVERYTHING in others else some & others
