"""What a processor leaves its successor about hosts that have been quiet for a while.

Hosts that send are found in the newest messages of their partition. A host that fell silent is farther back, so its
newest batch is recorded here; otherwise each takeover would have to read minutes of messages of the whole partition.

Pure. Only processors write these records, so lengths are not checked.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import ClassVar

from schemas.errors import LannerError

MAX_HOSTS = 10_000
"""Hosts in one record; if there are more, the ones that were silent for longest are not known to the successor."""


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
    newest_first = sorted(hosts, key=lambda host: host.appended, reverse=True)
    if len(newest_first) > MAX_HOSTS:
        since = newest_first[MAX_HOSTS].appended + 1
        newest_first = [host for host in newest_first[:MAX_HOSTS] if host.appended >= since]
    return QuietHosts(position, since, until, newest_first[::-1])


def encode_quiet_hosts(quiet: QuietHosts) -> bytes:
    """Return a record as JSON."""
    rows = [astuple(host) for host in quiet.hosts]
    content = {"position": quiet.position, "since": quiet.since, "until": quiet.until, "hosts": rows}
    return json.dumps(content, separators=(",", ":")).encode()


def decode_quiet_hosts(value: bytes) -> QuietHosts:
    """Parse a record.

    Raises:
        BadQuietHosts: the bytes are not a record.
    """
    try:
        content = json.loads(value)
        hosts = tuple(QuietHost(*row) for row in content["hosts"])
        return QuietHosts(int(content["position"]), int(content["since"]), int(content["until"]), hosts)
    except (ValueError, TypeError, KeyError) as error:
        raise BadQuietHosts(str(error)) from error
