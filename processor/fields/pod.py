"""Fields of a pod that come from the Kubernetes API server, through the topic ``pods``.

All are missing for host processes, and for pods whose record is not known (yet).
"""

from collections.abc import Sequence
from typing import Literal

from schemas.batch import Container, Process
from schemas.records.pod import Labels, Pod, PodObject

ObjectPart = Literal["name", "uid"]


def pod_of(containers: Sequence[Container], process: Process) -> Pod | None:
    """Return the record of a process's pod."""
    return containers[process.container].pod if process.container >= 0 else None


def pod_part(pod: Pod | None, name: str) -> str | None:
    """Return a text of a record; None if it is empty."""
    return None if pod is None else getattr(pod, name) or None


def namespace_labels(pod: Pod | None) -> Labels | None:
    """Return the labels of a pod's namespace."""
    return None if pod is None else pod.namespace_labels


def owner_part(pod: Pod | None, kind: str, part: ObjectPart) -> str | None:
    """Return name or uid of the owner of a kind, such as ReplicaSet."""
    owner = None if pod is None else pod.owner(kind)
    return None if owner is None else getattr(owner, part) or None


def owner_labels(pod: Pod | None, kind: str) -> Labels | None:
    """Return the labels of the owner of a kind."""
    owner = None if pod is None else pod.owner(kind)
    return None if owner is None else owner.labels


def top_owner_part(pod: Pod | None, part: Literal["kind", "name", "uid"]) -> str | None:
    """Return kind, name or uid of the last owner in the chain, such as the deployment or the cron job."""
    return None if pod is None or not pod.owners else getattr(pod.owners[-1], part) or None


def service_parts(pod: Pod | None, part: ObjectPart) -> tuple[str, ...]:
    """Return names or uids of the services that select a pod."""
    return tuple(getattr(each, part) for each in _services(pod))


def service_labels(pod: Pod | None, key: str) -> tuple[str, ...]:
    """Return the values that the services of a pod have for one label."""
    return tuple(value for each in _services(pod) for name, value in each.labels or () if name == key)


def all_service_labels(pod: Pod | None) -> Labels | None:
    """Return the labels of all services of a pod."""
    return tuple(pair for each in _services(pod) for pair in each.labels or ()) or None


def joined(texts: tuple[str, ...]) -> str | None:
    """Return texts separated by commas, as Falco prints several services; None if there are none."""
    return ", ".join(texts) or None


def _services(pod: Pod | None) -> tuple[PodObject, ...]:
    return () if pod is None else pod.services
