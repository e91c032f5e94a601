"""The records of pods, by uid: joins what the Kubernetes API server knows to the containers of a batch.

Records are stored encoded, which takes a fifth of the memory; those of the pods that send events are decoded once.
"""

from collections import Counter
from dataclasses import replace

from schemas.batch import Container, EventBatch
from schemas.caching.bounded import BoundedMap
from schemas.records.pod import BadPod, Pod, decode_pod

MAX_PODS = 200_000
"""More than the largest cluster that Kubernetes supports has, 150,000 pods."""
MAX_BYTES = 512 << 20
_MAX_DECODED = 4096
OUTCOMES = ("found", "unknown")


class PodRecords:
    """All known pods. One thread puts records, another one joins them."""

    def __init__(self, *, most: int = MAX_PODS, most_bytes: int = MAX_BYTES) -> None:
        """Begin without records.

        Args:
            most: the number of records to store.
            most_bytes: the size of all records.
        """
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
        """Store or delete a record.

        Args:
            key: the pod's uid.
            value: the encoded record; None to delete it.
        """
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
