"""Sets a batch's times right where its host's clock is not.

Windows over several hosts need one clock, and so does whoever reads what happened where.
"""

from array import array
from dataclasses import replace

from schemas.batch import EventBatch, Process
from schemas.codec import BadBatch


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
