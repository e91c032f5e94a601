"""The keys of hosts: enrolled by operators or pinned by processors, in the order of their topics.

Pure. Every processor reads the same two topics from their beginnings, so all come to the same keys.
"""

from collections.abc import Mapping
from dataclasses import replace
from sys import intern

from schemas.host_keys import BadHostKey, HostKey, decode_host_key

MAX_HOSTS = 100_000
"""Limit for each kind. A known host is never evicted for a new one: beyond this, new ones are refused."""


class KnownHosts:
    """The key of each host that has one."""

    def __init__(self, limit: int = MAX_HOSTS) -> None:
        self._limit = limit
        self._decided: dict[str, HostKey] = {}
        """By operators."""
        self._pinned: dict[str, HostKey] = {}
        """By processors, as the topic has it."""
        self._claimed: dict[str, HostKey] = {}
        """By this processor, until the topic has it."""

    @property
    def is_full(self) -> bool:
        """True if the limit of pinned hosts is reached."""
        return len(self._pinned) + len(self._claimed) >= self._limit

    def find(self, host_id: str, *, pins: bool = True) -> HostKey | None:
        """Return the record of a host; an operator's record overrides any pin.

        Args:
            host_id: the host.
            pins: whether pins count.
        """
        found = self._decided.get(host_id)
        if found is None and pins:
            found = self._pinned.get(host_id) or self._claimed.get(host_id)
        return found

    def everything(self) -> Mapping[str, HostKey]:
        """Return the record of each host, pins included."""
        return self._claimed | self._pinned | self._decided

    def counts(self) -> Mapping[str, int]:
        """Return how many hosts were pinned, and how many of them or others an operator decided about."""
        return {"pinned": len(self._pinned) + len(self._claimed), "decided": len(self._decided)}

    def claim(self, record: HostKey) -> None:
        """Count a pin that this processor decided on, until the topic shows which was first."""
        self._claimed[record.host_id] = record

    def take_decision(self, key: bytes, value: bytes | None) -> str:
        """Apply a message of the operators' topic; the newest record of a host counts.

        Returns:
            What is wrong with the message, which is then left out; empty if it is fine.
        """
        host_id = key.decode("utf-8", "replace")
        if value is None:
            self._decided.pop(host_id, None)
            return ""
        try:
            record = _record(host_id, value, ("enrolled", "revoked"))
        except BadHostKey as error:
            return str(error)
        if host_id not in self._decided and len(self._decided) >= self._limit:
            return f"{self._limit} hosts are enrolled or revoked already"
        self._decided[host_id] = record
        return ""

    def take_pin(self, key: bytes, value: bytes | None) -> HostKey | None:
        """Apply a message of the pins' topic; the first pin of a host counts.

        Returns:
            A pin to be written again: compaction would leave a later one in its place.
        """
        host_id = key.decode("utf-8", "replace")
        if value is None:
            self._pinned.pop(host_id, None)
            self._claimed.pop(host_id, None)
            return None
        first = self._pinned.get(host_id)
        try:
            record = _record(host_id, value, ("pinned",))
        except BadHostKey:
            return first
        self._claimed.pop(host_id, None)
        if first is None:
            if len(self._pinned) < self._limit:
                self._pinned[host_id] = record
            return None
        return first if first.public_key != record.public_key else None


def _record(host_id: str, value: bytes, states: tuple[str, ...]) -> HostKey:
    record = decode_host_key(value)
    if record.host_id != host_id:
        raise BadHostKey(f"the record names another host than its message key: {record.host_id[:100]!r}")
    if record.state not in states:
        raise BadHostKey(f"state {record.state!r} is not allowed in this topic")
    # A few numbers stand for many hosts.
    return replace(record, by=intern(record.by))
