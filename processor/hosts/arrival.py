"""Complete batches on arrival: correct their times if the host's clock is wrong, and add facts about pods.

Windows over several hosts need one clock, and so do people who compare hosts.
"""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bus.messages import AHEAD, BEHIND, TOLERATED
from foundation.caches import BoundedMap
from schemas.batch import Column, Container, EventBatch
from schemas.pod import BadPod, Pod, decode_pod

CLOCK_SKEW = "Lanner internal: clock skew"


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
    """Correct a batch's times by its host's clock offset, and bound event times by the append time.

    A host's times are claims. An event dated far ahead would keep windows and repeats of the fleet open until that
    time comes; a correction that the host itself announces is no better. The result depends on the message alone, so
    every reader, live or later, gets the same times and so the same alert ids.

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


MAX_PODS = 200_000
"""More than the largest cluster that Kubernetes supports has, 150,000 pods."""
MAX_BYTES = 512 << 20
_MAX_DECODED = 4096
OUTCOMES = ("found", "unknown")


class PodRecords:
    """All known pods. One thread puts records, another one joins them."""

    def __init__(self, *, most: int = MAX_PODS, most_bytes: int = MAX_BYTES) -> None:
        """Begin without records. most: the number of records to store; most_bytes: the size of all records."""
        self.dropped = 0
        """Records that were not stored for lack of room."""
        self.refused = 0
        """Messages that are not valid records."""
        self.lookups: Counter[str] = Counter()
        """Containers of pods in batches, by outcome."""
        self._most = most
        self._most_bytes = most_bytes
        self._values: dict[str, bytes] = {}
        self._bytes = 0
        self._decoded: BoundedMap[str, tuple[bytes, Pod]] = BoundedMap(_MAX_DECODED)

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Store or delete a record. key: the pod's uid; value: the encoded record; None to delete it."""
        uid = key.decode("utf-8", "replace")
        former = self._values.get(uid, b"")
        if not value:
            self._bytes -= len(former)
            self._values.pop(uid, None)
            return
        try:
            is_right = decode_pod(value).uid == uid
        except BadPod:
            is_right = False
        if not is_right:
            self.refused += 1
            return
        size = self._bytes - len(former) + len(value)
        if size > self._most_bytes or (not former and len(self._values) >= self._most):
            self.dropped += 1
            return
        self._values[uid] = value
        self._bytes = size

    def get(self, uid: str) -> Pod | None:
        """Return a pod's record; None if it is not known."""
        value = self._values.get(uid)
        if value is None:
            return None
        cached = self._decoded.get(uid)
        if cached is not None and cached[0] is value:
            return cached[1]
        pod = decode_pod(value)
        self._decoded.put(uid, (value, pod))
        return pod

    def join(self, batch: EventBatch) -> EventBatch:
        """Add the records to a batch's containers; they fill in names that the runtime does not have."""
        if self._values or self.lookups:
            batch.containers = [
                container if container.pod_uid is None else self._joined(container, container.pod_uid)
                for container in batch.containers
            ]
        return batch

    def _joined(self, container: Container, uid: str) -> Container:
        pod = self.get(uid)
        self.lookups["unknown" if pod is None else "found"] += 1
        if pod is None:
            return container
        return replace(
            container,
            pod=pod,
            pod_name=container.pod_name or pod.name or None,
            pod_namespace=container.pod_namespace or pod.namespace or None,
            pod_labels=container.pod_labels or pod.labels,
        )
