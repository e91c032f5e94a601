"""Facts of a container and its pod that take more than one attribute of its row.

On the host container.id, container.name and container.type say ``host`` and all else is missing, as
Falco's container plugin has it.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from schemas.batch import Container, Mount, Process

HOST = "host"
_SHORT_ID = 12

Labels = tuple[tuple[str, str], ...]


def container_of(containers: Sequence[Container], process: Process) -> Container | None:
    """Give the row of a process's container; None on the host."""
    return containers[process.container] if process.container >= 0 else None


def container_id(containers: Sequence[Container], process: Process) -> str:
    """Give container.id: 12 digits, or ``host``."""
    return containers[process.container].id if process.container >= 0 else HOST


def container_name(containers: Sequence[Container], process: Process) -> str | None:
    """Give container.name; ``host`` on the host."""
    return containers[process.container].name if process.container >= 0 else HOST


def container_type(containers: Sequence[Container], process: Process) -> str:
    """Give container.type; ``host`` on the host."""
    return containers[process.container].type if process.container >= 0 else HOST


def label(labels: Labels | None, key: str) -> str | None:
    """Give one label's value."""
    if labels is None:
        return None
    return next((value for name, value in labels if name == key), None)


def labels_text(labels: Labels | None) -> str | None:
    """Give all labels as ``key:value`` separated by commas."""
    if labels is None:
        return None
    return ", ".join(f"{key}:{value}" for key, value in labels)


def mount_text(mount: Mount) -> str:
    """Give a mount as ``source:dest:mode:rdwr:propagation``."""
    return f"{mount.source}:{mount.dest}:{mount.mode}:{rw_text(mount)}:{mount.propagation}"


def rw_text(mount: Mount) -> str:
    """Say whether a mount may be written to."""
    return "true" if mount.rw else "false"


def mounts_text(container: Container | None) -> str | None:
    """Give all mounts, separated by commas; "" where the container is known and has none."""
    if container is None:
        return None
    return ",".join(mount_text(mount) for mount in container.mounts or ())


def find_mount(container: Container | None, wanted: str, by: str = "source") -> Mount | None:
    """Find a mount by its place or by a pattern of its source or destination.

    Args:
        container: the container's row.
        wanted: digits: the place; otherwise a glob pattern.
        by: which end the pattern is compared with.
    """
    mounts = () if container is None else container.mounts or ()
    if wanted.isdigit():
        place = int(wanted)
        return mounts[place] if place < len(mounts) else None
    return next((mount for mount in mounts if fnmatchcase(getattr(mount, by), wanted)), None)


def mount(container: Container | None, wanted: str) -> str | None:
    """Give container.mount[...]: the whole mount, found by its source."""
    found = find_mount(container, wanted)
    return None if found is None else mount_text(found)


def mount_part(container: Container | None, wanted: str, part: str) -> str | None:
    """Give one part of a mount: ``source`` is found by destination, the others by source."""
    found = find_mount(container, wanted, "dest" if part == "source" else "source")
    if found is None:
        return None
    return rw_text(found) if part == "rdwr" else getattr(found, part)


def short_id(text: str | None) -> str | None:
    """Give the first 12 digits of an id."""
    return None if text is None else text[:_SHORT_ID]
