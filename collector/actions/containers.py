"""Finds the processes of a container on this host, and opens them so that what is read next is theirs.

A pid is used again after its process has ended. A descriptor of /proc/PID isn't: from then on, nothing can be opened
through it.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.actions.effect import ActionRefused, TargetGone
from collector.processes.container_names import ContainerName, container_of
from collector.procfs.foreign_files import closing
from collector.procfs.parse import parse_cgroup, parse_stat
from collector.procfs.reading import read_up_to

MAX_PROC_FILE = 64 << 10
PROC = Path("/proc")
_SHORT_ID = 12

ContainerOf = Callable[[str], ContainerName | None]


@dataclass(frozen=True, slots=True)
class OpenProcess:
    """A process that was checked; what its methods raise means that it has ended."""

    pid: int
    folder: int
    """Descriptor of /proc/PID."""

    def read(self, name: str, limit: int = MAX_PROC_FILE) -> bytes:
        """Return the first bytes of one of its files in procfs. Raises OSError."""
        with closing(self.open(name)) as file:
            return read_up_to(file, limit)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open one of its files, namespaces or its root in procfs. Raises OSError."""
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.folder)


def all_pids() -> Iterator[int]:
    """Return the ids of all processes."""
    return (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208  a Path takes longer


@contextlib.contextmanager
def open_process(pid: int) -> Iterator[OpenProcess]:
    """Open a process until the end of the block. Raises OSError if there is none."""
    with closing(os.open(PROC / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as folder:
        yield OpenProcess(pid, folder)


def container_processes(
    container_id: str, container_of: ContainerOf = container_of
) -> Generator[OpenProcess, None, None]:
    """Return the processes of a container, the oldest first; each is open until the next one is requested.

    Args:
        container_id: its full id, or the first 12 digits of it.
        container_of: returns the container that a cgroup's path names.

    Raises:
        TargetGone: it has no process.
        ActionRefused: two containers claim this id, and it is unknown which is meant.
    """
    found: dict[tuple[bool, str], list[tuple[int, int]]] = {}
    for pid in all_pids():
        with contextlib.suppress(OSError), open_process(pid) as process:
            container = container_of(parse_cgroup(process.read("cgroup")) or "")
            status = parse_stat(process.read("stat"))
            if container is not None and status is not None and _is_named(container, container_id):
                found.setdefault((container.is_certain, container.key), []).append((status.start_ticks, pid))
    # Root of a container can create a cgroup below its own that has another container's id.
    certain = [each for each in found if each[0]] or list(found)
    if not certain:
        raise TargetGone("the container has no process any more")
    if len(certain) > 1:
        raise ActionRefused("two containers claim this id: " + ", ".join(sorted(key for _, key in certain)))
    key = certain[0][1]
    for _, pid in sorted(found[certain[0]]):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError), open_process(pid) as process:
            container = container_of(parse_cgroup(process.read("cgroup")) or "")
            if container is not None and container.key == key:
                yield process


def _is_named(container: ContainerName, container_id: str) -> bool:
    return container_id == container.full_id or (len(container_id) == _SHORT_ID and container_id == container.id)
