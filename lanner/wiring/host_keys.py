"""Reads host keys and their announcements, and writes an operator's decisions."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicWriter, messages_of
from bus.connection import Connection
from bus.messages import HOST_DOMAIN, SIGNATURE, Headers
from bus.signatures import BadSigningKey, bare_public_key, is_signed_by
from bus.topics import HOST_KEYS, HOST_PINS, HOSTS
from lanner.ruleset.published import current_host, current_user
from lanner.settings import Settings
from processor.hosts.known_hosts import KnownHosts
from schemas.host_keys import Announcement, BadHostKey, HostKey, State, decode_announcement, encode_host_key

_MAX_ANNOUNCED = 100_000
"""A bound, because anyone who may send events may announce any number of keys."""
_HEADERS: Headers = [("content-type", b"application/json")]


@dataclass(frozen=True, slots=True)
class HostKeys:
    """A snapshot of the known keys."""

    decided: Mapping[str, HostKey]
    """By host id."""
    announced: Mapping[tuple[str, bytes], Announcement]
    """By host id and key; anyone may announce a key of their own under any id."""

    def announced_keys(self, host_id: str) -> list[bytes]:
        """Return the keys that were announced under an id."""
        return [key for host, key in self.announced if host == host_id]


def read_host_keys(connection: Connection) -> HostKeys:
    """Read the topics to their ends. Raises BusUnavailable."""
    known = KnownHosts()
    announced: dict[tuple[str, bytes], Announcement] = {}
    for topic, message in messages_of(connection, [HOSTS, HOST_PINS, HOST_KEYS]):
        key, value = message.key() or b"", message.value()
        if topic == HOST_KEYS:
            known.take_decision(key, value)
        elif topic == HOST_PINS:
            known.take_pin(key, value)
        elif (announcement := _announcement(message)) is not None and len(announced) < _MAX_ANNOUNCED:
            announced[announcement.host_id, announcement.public_key] = announcement
    return HostKeys(known.everything(), announced)


def _announcement(message: Message) -> Announcement | None:
    """Return the announcement in a message; None if it is not signed by the announced key."""
    value = message.value() or b""
    signature = dict(message.headers() or []).get(SIGNATURE)
    try:
        announcement = decode_announcement(value)
        is_genuine = isinstance(signature, bytes) and is_signed_by(
            bare_public_key(announcement.public_key), signature, HOST_DOMAIN, value
        )
    except (BadHostKey, BadSigningKey):
        return None
    return announcement if is_genuine else None


class HostKeyDecisions:
    """Writes an operator's decisions to the topic that processors follow."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        """Connect. Raises BusUnavailable if the broker's settings can't be used."""
        self._writer = CompactedTopicWriter(connection)
        self._by = f"{current_user()}@{current_host(settings.host.name)}"[:200]

    def decide(self, host_id: str, state: State, public_key: bytes) -> None:
        """Publish a decision. Raises BusUnavailable, and BadHostKey if readers would reject it."""
        record = HostKey(host_id, state, public_key, time.time_ns(), self._by)
        self._writer.put(HOST_KEYS, host_id.encode(), encode_host_key(record), _HEADERS)

    def forget(self, host_id: str) -> None:
        """Delete all decisions about a host. Raises BusUnavailable."""
        for topic in (HOST_PINS, HOST_KEYS):
            self._writer.put(topic, host_id.encode(), None, [])
