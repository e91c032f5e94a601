"""Decides what to write to the topic of pods: what the index has and the topic lacks, and late deletions. Pure.

It knows what the topic holds, so that neither a restart nor a long outage of the broker writes more than what has
changed, and nothing is queued: what changed twice in between is written once. A record has one message on its way, so
that no older one can overtake it.
"""

from dataclasses import replace
from hashlib import blake2b
from itertools import islice

from collector.kubernetes.watching.index import ClusterIndex
from schemas.records.pod import BadPod, encode_pod

_DIGEST_BYTES = 8
MAX_DELETED = 100_000
"""Deleted pods whose records are still in the topic; beyond it, the oldest are removed early."""


def digest(value: bytes) -> bytes:
    """Return a short digest of a record."""
    return blake2b(value, digest_size=_DIGEST_BYTES).digest()


class Reconciler:
    """What the topic holds, and when records of deleted pods are removed."""

    def __init__(
        self, index: ClusterIndex, *, delay: float, cluster: str = "", most_deleted: int = MAX_DELETED
    ) -> None:
        """Begin with an empty topic.

        Args:
            index: the objects of the cluster.
            cluster: the cluster's name, for each record.
            delay: seconds for which the record of a deleted pod stays, so that late events still find it.
            most_deleted: limit of the records that stay.
        """
        self.refused = 0
        """Pods without a record, because a name is out of range."""
        self._index = index
        self._cluster = cluster
        self._delay = delay
        self._most_deleted = most_deleted
        self._held: dict[str, bytes] = {}
        """By key, the digest of what the topic holds or will hold once sent messages have arrived."""
        self._ends: dict[str, float] = {}
        """By key, when to remove the record; in order."""
        self._in_flight: set[str] = set()
        self._postponed: set[str] = set()
        """Keys in flight whose records have changed since."""

    def __len__(self) -> int:
        return len(self._held)

    def found(self, key: str, value: bytes | None) -> None:
        """Take a message of the topic that this process did not write."""
        if value is None:
            self._held.pop(key, None)
        else:
            self._held[key] = digest(value)
        self._index.mark_changed(key)

    def arrived(self, key: str) -> None:
        """Take that the broker has a message."""
        self._in_flight.discard(key)
        if key in self._postponed:
            self._postponed.discard(key)
            self._index.mark_changed(key)

    def failed(self, key: str) -> None:
        """Take that a message did not arrive."""
        # What the topic holds is unknown now, and no digest is empty.
        self._held[key] = b""
        self._postponed.add(key)
        self.arrived(key)

    def start(self) -> None:
        """Begin when the topic and the cluster are known: what only the topic has was deleted in between."""
        known = set(self._index.keys())
        for key in self._held:
            if key not in known:
                self._index.mark_changed(key)

    def plan(self, now: float, most: int) -> list[tuple[str, bytes | None]]:
        """Return what to write, at most so many messages; each is in flight until it has arrived or failed.

        Args:
            now: a monotonic clock, s.
            most: the number of messages.
        """
        found: list[tuple[str, bytes | None]] = []
        for key in self._index.take_changed(most):
            if key in self._in_flight:
                self._postponed.add(key)
                continue
            pod = self._index.record(key)
            if pod is None:
                if key in self._held:
                    self._ends.setdefault(key, now + self._delay)
                continue
            self._ends.pop(key, None)
            try:
                value = encode_pod(replace(pod, cluster=self._cluster))
            except BadPod:
                self.refused += 1
                continue
            if self._held.get(key) != (new := digest(value)):
                self._held[key] = new
                found.append((key, value))
        found += [(key, None) for key in self._due(now, most - len(found))]
        self._in_flight.update(key for key, _ in found)
        return found

    def _due(self, now: float, most: int) -> list[str]:
        extra = len(self._ends) - self._most_deleted
        due = [
            key
            for index, (key, end) in enumerate(islice(self._ends.items(), max(most, 0)))
            if (end <= now or index < extra) and key not in self._in_flight
        ]
        for key in due:
            del self._ends[key]
            self._held.pop(key, None)
        return due
