"""What a processor leaves its successor about hosts that have been quiet for a while.

Hosts that send are found in the newest messages of their partition. A host that fell silent is farther back, so its
newest batch is recorded here; otherwise each takeover would have to read minutes of messages of the whole partition.

Pure. Only processors write these records, but the names in them are those that hosts send.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import ClassVar

from bus.topics import MAX_MESSAGE_BYTES
from schemas.errors import LannerError

MAX_HOSTS = 10_000
"""Hosts in one record; if there are more, the ones that were silent for longest are not known to the successor."""
MAX_RECORD_BYTES = MAX_MESSAGE_BYTES // 2
"""Length of a record; long names leave room for fewer hosts."""

_MOST = 2**63


class BadQuietHosts(LannerError, ValueError):
    """The bytes are not such a record."""


@dataclass(frozen=True, slots=True)
class QuietHost:
    """The newest batch of a host; a batch as far as sequences and liveness need it."""

    host_id: str
    hostname: str
    boot_id: str
    collector_start: int
    sequence: int
    appended: int
    """Broker's clock, ms."""
    stopping: bool

    previous_start: ClassVar[int] = 0
    previous_sequence: ClassVar[int] = -1


@dataclass(frozen=True, slots=True)
class QuietHosts:
    """The quiet hosts of one partition at one of its offsets."""

    position: int
    """The offset of the message that was evaluated next."""
    since: int
    """Hosts whose newest batch is older are not listed, ms."""
    until: int
    """Neither are those whose newest batch is this new or newer, ms: they are in the messages since then."""
    hosts: Sequence[QuietHost] = ()


def quiet_hosts(position: int, since: int, until: int, hosts: Sequence[QuietHost]) -> QuietHosts:
    """Return the record of a partition, of as many hosts as fit; arguments as the fields of the same name."""
    return _newest(QuietHosts(position, since, until, sorted(hosts, key=lambda host: host.appended)), MAX_HOSTS)


def encode_quiet_hosts(quiet: QuietHosts) -> bytes:
    """Return a record as JSON, of as many hosts as fit."""
    rows = [astuple(host) for host in quiet.hosts]
    content = {"position": quiet.position, "since": quiet.since, "until": quiet.until, "hosts": rows}
    value = json.dumps(content, separators=(",", ":")).encode()
    return value if len(value) <= MAX_RECORD_BYTES else encode_quiet_hosts(_newest(quiet, len(quiet.hosts) // 2))


def _newest(quiet: QuietHosts, most: int) -> QuietHosts:
    """Return a record of at most so many hosts, and of the time since which these are all."""
    beyond = len(quiet.hosts) - most
    if beyond <= 0:
        return quiet
    since = quiet.hosts[beyond - 1].appended + 1
    return replace(quiet, since=since, hosts=[host for host in quiet.hosts[beyond:] if host.appended >= since])


def decode_quiet_hosts(value: bytes) -> QuietHosts:
    """Parse a record.

    Raises:
        BadQuietHosts: the bytes are not a record.
    """
    try:
        content = json.loads(value)
        if len(content["hosts"]) > MAX_HOSTS:
            raise BadQuietHosts(f"{len(content['hosts'])} hosts")
        hosts = tuple(_checked(QuietHost(*row)) for row in content["hosts"])
        return QuietHosts(_number(content["position"]), _number(content["since"]), _number(content["until"]), hosts)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadQuietHosts(str(error)) from error


def _checked(host: QuietHost) -> QuietHost:
    for number in (host.collector_start, host.sequence, host.appended):
        _number(number)
    if any(type(each) is not str for each in (host.host_id, host.hostname, host.boot_id)):
        raise BadQuietHosts("a name is no text")
    if type(host.stopping) is not bool:
        raise BadQuietHosts("stopping is neither true nor false")
    return host


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise BadQuietHosts("a number is none, or out of range")
    return value
