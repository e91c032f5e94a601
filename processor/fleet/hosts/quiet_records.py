"""Decides which hosts a processor records as quiet, and when, and reads what others recorded."""

import time
from collections.abc import Callable, Iterable, Mapping

from processor.fleet.kafka.past_events import PastEvents
from processor.fleet.message_stage import MessageStage
from processor.hosts.quiet import BadQuietHosts, QuietHosts, decode_quiet_hosts, encode_quiet_hosts, quiet_hosts

_EVERY_SECONDS = 10.0
_QUIET_MS = 20_000
"""A host that sent something in this time is found in the messages; each sends at least every 15 s."""
_NEWEST = 3
"""Records that are read of a partition: the last one may be of a processor that hung, or not committed."""


class QuietRecords:
    """What this processor records, and what others recorded."""

    def __init__(self, stage: MessageStage, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin. stage: knows the hosts; clock: monotonic, s."""
        self._stage = stage
        self._clock = clock
        self._due = 0.0
        self._waiting: dict[int, QuietHosts] = {}
        self._recorded: dict[int, int] = {}

    def capture(self, positions: Mapping[int, int]) -> None:
        """Note which hosts are quiet, if it is time; call it between two messages.

        Args:
            positions: by partition, the offset that is evaluated next.
        """
        now = self._clock()
        if now < self._due or (broker := self._stage.broker_time()) is None:
            return
        self._due = now + _EVERY_SECONDS
        changed = {each: at for each, at in positions.items() if self._recorded.get(each) != at}
        until = broker - _QUIET_MS
        for partition, (since, hosts) in self._stage.liveness.quiet(dict.fromkeys(changed, until)).items():
            # One that still waits is sent first: otherwise none would be if commits were always behind.
            self._waiting.setdefault(partition, quiet_hosts(changed[partition], since, until, hosts))

    def take(self, committed: Mapping[int, int]) -> list[tuple[int, bytes]]:
        """Return what to record now, with its partition: what was noted at offsets that are committed by now.

        A successor begins at the committed offset, and what was noted later would hide what happened in between.

        Args:
            committed: by partition.
        """
        ready = [each for each, quiet in self._waiting.items() if quiet.position <= committed.get(each, -1)]
        self._recorded |= {partition: self._waiting[partition].position for partition in ready}
        return [(partition, encode_quiet_hosts(self._waiting.pop(partition))) for partition in ready]

    def forget(self, partitions: Iterable[int]) -> None:
        """Record nothing more about partitions."""
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._recorded.pop(partition, None)


async def read_quiet_hosts(
    past: PastEvents, topic: str, bounds: Mapping[int, tuple[int, int]]
) -> dict[int, QuietHosts]:
    """Return the newest usable record of each partition.

    Args:
        past: reads topics.
        topic: the full name of QUIET_HOSTS.
        bounds: by partition, the first offset that the events topic holds, and the one from which this processor goes
            on. What happened between a record's position and these would be unknown.
    """
    found: dict[int, QuietHosts] = {}
    for partition, records in (await past.newest(topic, bounds, _NEWEST)).items():
        begin, end = bounds[partition]
        for record in records:
            try:
                quiet = decode_quiet_hosts(record.value or b"")
            except BadQuietHosts:
                continue
            if begin <= quiet.position <= end:
                found[partition] = max(quiet, found.get(partition, quiet), key=lambda each: each.position)
    return found
