"""Corrects the times of a batch if its host's clock is wrong.

Windows over several hosts need one clock, and so do people who compare hosts.
"""

from array import array
from collections.abc import Sequence
from dataclasses import replace

from bus.messages.clock_offset import TOLERATED
from schemas.batch import Column, EventBatch

CLOCK_SKEW = "Lanner internal: clock skew"
AHEAD = 10_000_000_000
"""How much later than its append time an event may be dated, ns: clocks that are at most TOLERATED off are not
corrected, and an offset is measured to within half a second."""
BEHIND = 90 * 86_400 * 1_000_000_000
"""How much earlier, ns. Old events can't silence anything, so the bound is wide: a quiet host's heartbeats take two
months to fill a spool of the default size, and dead letters that are replayed are retained for one."""


class ClockSkews:
    """The last reported clock offset of each host."""

    def __init__(self) -> None:
        self._reported: dict[str, int] = {}

    def change(self, host_id: str, offset: int) -> str:
        """Return what has changed about a host's clock since the last report; empty if nothing has.

        Args:
            host_id: the host.
            offset: what its times are moved by, ns; 0 for a clock that is right.
        """
        reported = self._reported.get(host_id, 0)
        if abs(offset - reported) <= TOLERATED:
            return ""
        if not offset:
            del self._reported[host_id]
            return "the clock is right again"
        self._reported[host_id] = offset
        which = "behind" if offset > 0 else "ahead of"
        return f"the clock is {abs(offset) / 1e9:.0f} s {which} the broker's: event times are corrected by that"

    def drop(self, host_id: str) -> None:
        """Forget a host."""
        self._reported.pop(host_id, None)


def dated(batch: EventBatch, appended: int, offset: int) -> tuple[EventBatch, int]:
    """Correct a batch's times by its host's clock offset, and keep event times near the append time.

    What a host writes about time is a claim. An event dated far ahead would hold windows and repeats of the whole fleet
    until that time comes; a correction that the host itself announces is no better. The result depends on the message
    alone, so whoever reads it, live or later, gets the same times and so the same alert ids.

    Args:
        batch: as decoded.
        appended: when the broker appended it, ns since the epoch.
        offset: what to add to all times of the batch, ns; 0 for a clock that is right.

    Returns:
        The batch with its append time, and the number of events that were dated outside the bounds.
    """
    earliest, latest = appended - BEHIND, appended + AHEAD
    columns: dict[str, Column] = batch.columns
    times: Sequence[int] = columns["time"]
    if offset:
        times = [time + offset for time in times]
    outside = 0
    if times and (max(times) > latest or min(times) < earliest):
        outside = sum(not earliest <= time <= latest for time in times)
        times = [min(max(time, earliest), latest) for time in times]
    if times is not columns["time"]:
        columns = {**columns, "time": array("q", times)}
    created = min(max(batch.created + offset, earliest), latest)
    if not offset:
        return replace(batch, created=created, columns=columns, appended=appended), outside

    def moved(time: int | None) -> int | None:
        return None if time is None else min(max(time + offset, 0), latest)

    processes = [
        replace(
            process,
            start_time=moved(process.start_time),
            exec_time=moved(process.exec_time),
            pidns_init_start_time=moved(process.pidns_init_start_time),
        )
        for process in batch.processes
    ]
    containers = [replace(container, start_ts=moved(container.start_ts)) for container in batch.containers]
    return (
        replace(batch, created=created, columns=columns, processes=processes, containers=containers, appended=appended),
        outside,
    )
