"""Reports rules that raised, and events that are JSON and were not evaluated as a whole, as notices for correlation."""

from collections import Counter
from zlib import crc32

from foundation.text import printable
from processor.detection.stage import EvaluatedRules, failed_text
from processor.fields.json.documents import Document
from processor.matching.pre_match import Notice, PreMatch, notice_of
from processor.output.internal_alerts import EVENT_REFUSED, EVENT_TRUNCATED, RULE_FAILED, Cause
from processor.sessions.records import hashed
from schemas.catalog.fields import K8S_AUDIT

_USER_GROUPS = 64
"""Users of other sources may be invented: no more than so many sums are reported at a time."""
_MAX_PART = 100


class RuleFailures:
    """Counts of the failures reported so far."""

    def __init__(self) -> None:
        self._reported: Counter[str] = Counter()

    def forget(self) -> None:
        """Count from the beginning: other rules are evaluated."""
        self._reported = Counter()

    def fresh(self, rules: EvaluatedRules, received: int, position: tuple[int, int]) -> list[PreMatch]:
        """Return the notice about rules that raised since the last call; none if none did.

        Args:
            rules: the rules.
            received: when the newest event was received, ns since the epoch.
            position: identifies the event: where events come from in order, and its number there.
        """
        faults = rules.faults()
        if faults == self._reported:
            return []
        fresh = Counter(faults) - self._reported
        self._reported = Counter(faults)
        notice = Notice(RULE_FAILED, "Error", dict(fresh), failed_text(fresh, rules.first_errors()))
        return [notice_of(Cause("", K8S_AUDIT, received, (K8S_AUDIT, *position)), notice, appended=received)]


def truncated(event: Document, received: int) -> list[PreMatch]:
    """Return the notice about an event of which parts are missing, summed by user; none if it is whole.

    Args:
        event: the event.
        received: when it was received, ns since the epoch; 0 if events are the clock.
    """
    if not event.truncated:
        return []
    source, user = event.source.name, _shown(event, "json.user") or "unknown"
    if source == K8S_AUDIT:
        parts = [_shown(event, f"ka.target.{name}") for name in ("resource", "subresource", "namespace", "name")]
        named = " ".join(filter(None, ("/".join(filter(None, parts[:2])), "/".join(filter(None, parts[2:])))))
        user += f" as {other}" if (other := _shown(event, "ka.impuser.name")) else ""
        act = f"{_shown(event, 'ka.verb')} {named or _shown(event, 'ka.uri')}"
    else:
        act = _shown(event, "json.key") or "an event without a key"
    cluster = f", in cluster {name}" if (name := _shown(event, "ka.cluster.name")) else ""
    text = f"rules saw an event of {source} without some of its parts: {event.truncated}; by {user}: {act}{cluster}"
    notice = Notice(EVENT_TRUNCATED, "Warning", {f"{user}: {act}": 1}, text)
    cause = Cause("", source, event.time, (hashed(event.identity), 0, 0))
    group = (source, str(crc32(user.encode()) % _USER_GROUPS))
    return [notice_of(cause, notice, appended=received, group=group)]


def refused(source: str, number: int, reason: str, position: tuple[str, int, int], received: int) -> PreMatch:
    """Return the notice about events that can't be read.

    Args:
        source: of the events.
        number: of the events.
        reason: of the first.
        position: topic, partition and offset of their message.
        received: when it was received, ns since the epoch.
    """
    text = f"events of {source} can't be read and were not evaluated; they are in the dead letters: {reason}"
    notice = Notice(EVENT_REFUSED, "Warning", {source: number}, text)
    return notice_of(Cause("", source, received, position), notice, appended=received)


def _shown(event: Document, field: str) -> str:
    value = event[field]
    return "" if value is None else printable(str(value))[:_MAX_PART]
