"""Requests for shells in pods, and the shells that start there, for tests."""

from dataclasses import replace
from typing import Any

from foundation.quantities import iso8601_zulu
from processor.fields.json.documents import event_of
from schemas.batch import Container, EventBatch, Process
from tests.unit.processor.batches import batch_of
from tests.unit.processor.detection.requests import exec_request

START = 1_795_602_855_000_000_000
SECOND = 1_000_000_000
WEB = Container("3d09256ebd53", "3d09256ebd53" * 5, "docker", name="web", pod_name="web", pod_namespace="prod")
POD = {"resource": "pods", "namespace": "prod", "name": "web"}
OTHER = replace(WEB, name="sidecar")


def requested(seconds: float, *words: str, user: str = "eve", container: str = "web", **changes: Any) -> Any:
    """Return the audit event of a request to run a command."""
    document = exec_request(*(words or ("sh",)), container=container)
    time = iso8601_zulu(START + round(seconds * SECOND))
    changes = {
        "auditID": f"{seconds} {words} {user}",
        "stageTimestamp": time,
        "user": {"username": user, "groups": ["dev"]},
        **changes,
    }
    return event_of(document | changes, 0, None)


def started(
    seconds: float,
    *words: str,
    pid: int = 10,
    container: Container = WEB,
    parent: Process | None = None,
    depth: int = 0,
    event_type: str = "execve",
    host: str = "host-1",
) -> EventBatch:
    """Return the batch in which the last of a line of processes has an event; the first is in the container already."""
    exe, *arguments = words or ("sh",)
    processes = [parent or Process(pid=1, name="containerd-shim", container=-1)]
    processes.append(
        Process(
            pid=pid, ppid=1, name=exe, exe=exe, args=tuple(arguments), parent=0, container=0, start_time=START + pid
        )
    )
    for level in range(depth):
        row = len(processes) - 1
        processes.append(Process(pid=100 + level, name="sh", parent=row, container=0, start_time=START + 500 + level))
    return batch_of(
        {"type": event_type, "time": START + round(seconds * SECOND), "process": len(processes) - 1},
        processes=processes,
        containers=[container],
        host_id=host,
    )
