"""Hosts that fall silent, and that come back: each host's collector sends something every 15 s.

Pure. A silence is a gap between two batches in the broker's own time, so whoever evaluates it, and however often, finds
the same one and gives it the same id; memory is only needed to see one while it lasts. How many hosts are remembered is
for the caller to bound.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from bus.topics import MAX_MESSAGE_BYTES
from foundation.errors import LannerError
from foundation.quantities import date_and_time_seconds
from processor.hosts.sequences import NumberedBatch, QuietHost
from processor.hosts.tracked import PartitionHosts
from processor.output.internal_alerts import Cause, internal_alert
from schemas.alert import Alert

MAX_HOSTS = 10_000
"""Hosts in one record; if there are more, the ones that were silent for longest are not known to the successor."""
MAX_RECORD_BYTES = MAX_MESSAGE_BYTES // 2
"""Length of a record; long names leave room for fewer hosts."""

_MOST = 2**63


class BadQuietHosts(LannerError, ValueError):
    """The bytes are not such a record."""


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
    """Parse a record. Raises BadQuietHosts: the bytes are not a record."""
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


HOST_SILENT = "Lanner internal: host silent"
HOST_STOPPED = "Lanner internal: host stopped"
HOST_BACK = "Lanner internal: host back"
DEFAULT_SECONDS = 120.0
_MS = 1_000_000


@dataclass(slots=True)
class _Host:
    partition: int
    name: str
    batch: tuple[str, int, int]
    appended: int
    """Broker's clock, ms."""
    is_stopped: bool
    is_reported: bool = False


class HostLiveness(PartitionHosts[_Host]):
    """When each host of the partitions that this process owns last sent a batch."""

    def __init__(self, after_seconds: float = DEFAULT_SECONDS) -> None:
        super().__init__()
        self._after = int(after_seconds * 1000)
        self._known_since: dict[int, int] = {}

    @property
    def look_back_ms(self) -> int:
        """How far back a process that takes over a partition has to read, ms."""
        return 2 * self._after + 60_000

    def recall(self, partition: int, batch: NumberedBatch, appended: int) -> None:
        """Record a batch that another process evaluated."""
        known = self._hosts.get(batch.host_id)
        if known is None or known.partition != partition or known.appended <= appended:
            self._take(partition, batch, appended)

    def recalled(self, partition: int, since: int) -> None:
        """Record that all hosts of a partition since a time (ms) have been recalled."""
        self._known_since[partition] = since

    def quiet(self, until: Mapping[int, int]) -> dict[int, tuple[int, list[QuietHost]]]:
        """Return what a successor has to know of hosts that it does not find in the newest messages.

        Args:
            until: by partition, the time (ms) since which it reads all messages.

        Returns:
            By partition, the time (ms) since which all its hosts are known, and those hosts that were quiet since
            `until`. Partitions without any message are missing.
        """
        found: dict[int, tuple[int, list[QuietHost]]] = {
            partition: (max(known, until[partition] - self.look_back_ms), [])
            for partition, known in self._known_since.items()
            if partition in until
        }
        for host_id, host in self._hosts.items():
            if (here := found.get(host.partition)) and here[0] <= host.appended < until[host.partition]:
                here[1].append(QuietHost(host_id, host.name, *host.batch, host.appended, host.is_stopped))
        return found

    def see(self, partition: int, batch: NumberedBatch, appended: int) -> list[Alert]:
        """Record a batch, in the order of its partition.

        Args:
            partition: of the events topic.
            batch: the batch.
            appended: broker's clock, ms.

        Returns:
            What the batch shows about a silence that it ends.
        """
        known = self._hosts.get(batch.host_id)
        if known is not None and known.partition == partition and known.appended > appended:
            return []
        found = []
        # Where nothing was recalled, hosts are known from the first message on.
        since = self._known_since.setdefault(partition, appended)
        if known is None or known.partition != partition:
            if appended - since > self._after and (batch.sequence > 1 or batch.previous_start):
                found = [_back(batch, appended, appended - since, "more than ")]
        elif appended - known.appended > self._after:
            found = [] if known.is_reported else [self._silent(batch.host_id, known)]
            found.append(_back(batch, appended, appended - known.appended, ""))
        self._take(partition, batch, appended)
        return found

    def overdue(self, now: int) -> frozenset[int]:
        """Return the partitions in which a host seems silent. now: ms."""
        return frozenset(host.partition for _, host in self._late(now))

    def due(self, partitions: Iterable[int], now: int) -> list[Alert]:
        """Return alerts about silent hosts in partitions that were read to their end. now: ms."""
        found = []
        read = frozenset(partitions)
        for host_id, host in self._late(now):
            if host.partition in read:
                host.is_reported = True
                found.append(self._silent(host_id, host))
        return found

    def forget(self, partitions: frozenset[int]) -> None:
        """Forget the hosts of partitions that another process takes over."""
        for partition in partitions:
            self._known_since.pop(partition, None)
        super().forget(partitions)

    def _take(self, partition: int, batch: NumberedBatch, appended: int) -> None:
        which = (batch.boot_id, batch.collector_start, batch.sequence)
        self._hosts[batch.host_id] = _Host(partition, batch.hostname, which, appended, batch.stopping)

    def _late(self, now: int) -> list[tuple[str, _Host]]:
        return [
            (host_id, host)
            for host_id, host in self._hosts.items()
            if not host.is_reported and now - host.appended > self._after
        ]

    def _silent(self, host_id: str, host: _Host) -> Alert:
        cause = Cause(host_id, host.name, (host.appended + self._after) * _MS, host.batch)
        last = date_and_time_seconds(host.appended * _MS, utc=True) + "Z"
        if host.is_stopped:
            text = f"the collector of host {host.name} was stopped cleanly at {last} and has not been started since"
            return internal_alert(HOST_STOPPED, cause, text, {}, "Notice")
        text = f"host {host.name} has sent nothing since {last}; even an idle host sends a heartbeat every 15 s"
        return internal_alert(HOST_SILENT, cause, text, {}, "Warning")


def _back(batch: NumberedBatch, appended: int, silent_ms: int, about: str) -> Alert:
    cause = Cause(batch.host_id, batch.hostname, appended * _MS, (batch.boot_id, batch.collector_start, batch.sequence))
    text = f"host {batch.hostname} is back after {about}{silent_ms // 1000} s of silence"
    return internal_alert(HOST_BACK, cause, text, {"silent_seconds": silent_ms // 1000}, "Notice")
