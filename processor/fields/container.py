"""Fields of a container and its pod that need more than one attribute of its row.

For host processes, container.id, container.name and container.type are ``host`` and all other fields are
missing, as in Falco's container plugin.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from schemas.batch import NOBODY, Container, Mount, Process
from schemas.pod import Labels as PodLabels
from schemas.pod import Pod, PodObject

HOST = "host"
_SHORT_ID = 12

Labels = tuple[tuple[str, str], ...]


def container_of(containers: Sequence[Container], process: Process) -> Container | None:
    """Return the row of a process's container; None on the host."""
    return containers[process.container] if process.container >= 0 else None


def container_id(containers: Sequence[Container], process: Process) -> str | None:
    """Return container.id: 12 digits, or ``host``; None for events without a process."""
    if process.container >= 0:
        return containers[process.container].id
    return None if process.pid == NOBODY else HOST


def container_name(containers: Sequence[Container], process: Process) -> str | None:
    """Return container.name; ``host`` on the host."""
    if process.container >= 0:
        return containers[process.container].name
    return None if process.pid == NOBODY else HOST


def container_type(containers: Sequence[Container], process: Process) -> str | None:
    """Return container.type; ``host`` on the host."""
    if process.container >= 0:
        return containers[process.container].type
    return None if process.pid == NOBODY else HOST


def label(labels: Labels | None, key: str) -> str | None:
    """Return the value of one label."""
    if labels is None:
        return None
    return next((value for name, value in labels if name == key), None)


def labels_text(labels: Labels | None) -> str | None:
    """Return all labels as ``key:value``, separated by commas."""
    if labels is None:
        return None
    return ", ".join(f"{key}:{value}" for key, value in labels)


def mount_text(mount: Mount) -> str:
    """Return a mount as ``source:dest:mode:rdwr:propagation``."""
    return f"{mount.source}:{mount.dest}:{mount.mode}:{rw_text(mount)}:{mount.propagation}"


def rw_text(mount: Mount) -> str:
    """Return ``true`` if a mount is writable, else ``false``."""
    return "true" if mount.rw else "false"


def mounts_text(container: Container | None) -> str | None:
    """Return all mounts, separated by commas; "" if it has none, and None if they aren't known."""
    if container is None or container.mounts is None:
        return None
    return ",".join(mount_text(mount) for mount in container.mounts)


def find_mount(container: Container | None, selector: str, by: str = "source") -> Mount | None:
    """Find a mount by its index, or by a glob pattern for its ``source`` or ``dest``."""
    mounts = () if container is None else container.mounts or ()
    if selector.isdigit():
        index = int(selector)
        return mounts[index] if index < len(mounts) else None
    return next((mount for mount in mounts if fnmatchcase(getattr(mount, by), selector)), None)


def mount(container: Container | None, selector: str) -> str | None:
    """Return container.mount[...]: the whole mount, found by its source."""
    found = find_mount(container, selector)
    return None if found is None else mount_text(found)


def mount_part(container: Container | None, selector: str, part: str) -> str | None:
    """Return one part of a mount, found by destination for ``source`` and by source for the others."""
    found = find_mount(container, selector, "dest" if part == "source" else "source")
    if found is None:
        return None
    return rw_text(found) if part == "rdwr" else getattr(found, part)


def short_id(text: str | None) -> str | None:
    """Return the first 12 digits of an id."""
    return None if text is None else text[:_SHORT_ID]


def with_container(container_id: str | None, text: str | None) -> str | None:
    """Return fd.containername or fd.containerdirectory."""
    return None if text is None else f"{container_id or ''}:{text}"


ObjectPart = Literal["name", "uid"]


def pod_of(containers: Sequence[Container], process: Process) -> Pod | None:
    """Return the record of a process's pod."""
    return containers[process.container].pod if process.container >= 0 else None


def pod_part(pod: Pod | None, name: str) -> str | None:
    """Return a text of a record; None if it is empty."""
    return None if pod is None else getattr(pod, name) or None


def namespace_labels(pod: Pod | None) -> PodLabels | None:
    """Return the labels of a pod's namespace."""
    return None if pod is None else pod.namespace_labels


def owner_part(pod: Pod | None, kind: str, part: ObjectPart) -> str | None:
    """Return name or uid of the owner of a kind, such as ReplicaSet."""
    owner = None if pod is None else pod.owner(kind)
    return None if owner is None else getattr(owner, part) or None


def owner_labels(pod: Pod | None, kind: str) -> PodLabels | None:
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


def all_service_labels(pod: Pod | None) -> PodLabels | None:
    """Return the labels of all services of a pod."""
    return tuple(pair for each in _services(pod) for pair in each.labels or ()) or None


def joined(texts: tuple[str, ...]) -> str | None:
    """Return texts separated by commas, as Falco prints several services; None if there are none."""
    return ", ".join(texts) or None


def _services(pod: Pod | None) -> tuple[PodObject, ...]:
    return () if pod is None else pod.services
