"""Sets a batch's times right where its host's clock is not.

Windows over several hosts need one clock, and so does whoever reads what happened where.
"""

from array import array
from dataclasses import replace

from bus.clocks import TOLERATED
from schemas.batch import EventBatch, Process
from schemas.codec import BadBatch

CLOCK_SKEW = "Lanner internal: clock skew"
_MAX_HOSTS = 100_000


class WrongClocks:
    """By how much each host's clock was last told to be wrong."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def change(self, host_id: str, offset: int) -> str:
        """Say what has changed about a host's clock since it was told; empty where nothing has.

        Args:
            host_id: the host.
            offset: what its times are moved by, ns; 0 for a clock that is right.
        """
        told = self._told.get(host_id, 0)
        if abs(offset - told) <= TOLERATED:
            return ""
        if not offset:
            del self._told[host_id]
            return "the clock is right again"
        if told or len(self._told) < _MAX_HOSTS:
            self._told[host_id] = offset
        which = "behind" if offset > 0 else "ahead of"
        return f"the clock is {abs(offset) / 1e9:.0f} s {which} the broker's: event times are corrected by that"


def corrected(batch: EventBatch, offset: int) -> EventBatch:
    """Give a batch with all its times moved.

    Args:
        batch: as decoded.
        offset: what to add, ns; 0 gives the batch itself.

    Raises:
        BadBatch: a time leaves what 64 bits can hold.
    """
    if not offset:
        return batch
    try:
        times = array("q", [time + offset for time in batch.columns["time"]])
    except OverflowError:
        raise BadBatch("a time that no clock shows") from None
    return replace(
        batch,
        created=batch.created + offset,
        columns={**batch.columns, "time": times},
        processes=[_process(process, offset) for process in batch.processes],
        containers=[
            container if container.start_ts is None else replace(container, start_ts=container.start_ts + offset)
            for container in batch.containers
        ],
    )


def _process(process: Process, offset: int) -> Process:
    def moved(time: int | None) -> int | None:
        return None if time is None else time + offset

    return replace(
        process,
        start_time=moved(process.start_time),
        exec_time=moved(process.exec_time),
        pidns_init_start_time=moved(process.pidns_init_start_time),
    )
