"""Fields of a process, its container and its pod that need more than one attribute of their rows.

These are the command line, ancestors, leaders and capabilities, for example. For host processes, container.id,
container.name and container.type are ``host`` and all other fields of containers are missing, as in Falco's container
plugin. Each function takes rows of a batch and returns the field's value or None. Compiled rules and output formatting
share these functions. Source: libsinsp sinsp_filtercheck_thread.cpp.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import dropwhile
from typing import Literal, TypeVar

from schemas.batch import NOBODY, Container, Mount, Process
from schemas.pod import Labels as PodLabels
from schemas.pod import Pod, PodObject

Rows = Sequence[Process]

CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE"),
    *("CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER"),
    *("CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT"),
    *("CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME"),
    *("CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL"),
    *("CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM"),
    *("CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)
"""Names by bit number. Source: linux/capability.h."""

_ENV_LEVELS = 20
MAX_ANCESTORS = 1024
"""Ancestors that fields look at: as many as a collector does. A hostile batch may have a line of all its processes."""
MAX_LINE_CHARACTERS = 4 << 20
"""Characters of the command lines, arguments or environments of all ancestors: a collector sends at most 256 KiB."""
_ENTRIES = frozenset({"sshd", "sshd-session", "login", "systemd", "cron", "crond"})
"""Names of programs that begin a session for a login or a service."""
_INIT = Process(pid=1)
_Text = TypeVar("_Text", str, str | None)

HOST = "host"
_SHORT_ID = 12
Labels = tuple[tuple[str, str], ...]
ObjectPart = Literal["name", "uid"]


def ancestor(rows: Rows, process: Process, level: int) -> Process | None:
    """Return the ancestor ``level`` generations up, the process itself for 0; None if it is unknown."""
    for _ in range(level):
        if process.parent < 0:
            return None
        process = rows[process.parent]
    return process


def ancestors(rows: Rows, process: Process) -> list[Process]:
    """Return the known ancestors, the parent first, without the process itself."""
    line: list[Process] = []
    while process.parent >= 0 and len(line) < MAX_ANCESTORS:
        process = rows[process.parent]
        line.append(process)
    return line


def any_ancestor(rows: Rows, index: int, holds: Callable[[int], bool], known: dict[int, bool]) -> bool:
    """Return whether a condition is true of some ancestor of a row.

    Args:
        rows: the processes of a batch.
        index: the row.
        holds: evaluates the condition for a row.
        known: results by row; those of this row and of the ancestors on the way are added, so that all rows of a batch
            together take as many steps as there are rows.
    """
    line = [index]
    while (index := rows[index].parent) >= 0 and not holds(index) and index not in known:
        line.append(index)
    found = index >= 0 and (holds(index) or known[index])
    known.update(dict.fromkeys(line, found))
    return found


def within_line(values: Iterable[_Text]) -> Iterator[_Text]:
    """Yield the values of ancestors, the nearest first, until they are too long: each may be a million characters."""
    left = MAX_LINE_CHARACTERS
    for value in values:
        left -= len(value or "")
        if left < 0:
            return
        yield value


def joined_line(values: Iterable[str | int | None]) -> str | None:
    """Return the values of ancestors, separated by blanks; an empty one at the beginning adds no blank."""
    texts = within_line(str(value) for value in values if value is not None)
    return " ".join(dropwhile(operator.not_, texts)) or None


def arguments(process: Process) -> str | None:
    """Return the arguments without argv[0], joined with blanks."""
    return None if process.args is None else " ".join(process.args)


def argument(process: Process, index: int) -> str | None:
    """Return one argument; 0 is the first after argv[0], and one beyond the last is empty."""
    args = process.args
    return None if args is None else args[index] if index < len(args) else ""


def command_line(process: Process) -> str | None:
    """Return the name and the arguments, as in proc.cmdline."""
    if process.name is None:
        return None
    return " ".join((process.name, *process.args)) if process.args else process.name


def executed_line(process: Process) -> str | None:
    """Return argv[0] and the arguments, as in proc.exeline."""
    if process.exe is None:
        return None
    return " ".join((process.exe, *process.args)) if process.args else process.exe


def argument_count(process: Process) -> int | None:
    """Return the number of arguments without argv[0]."""
    return None if process.args is None else len(process.args)


def argument_length(process: Process) -> int | None:
    """Return the total length of the arguments in bytes, without the blanks between them."""
    if process.args is None:
        return None
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape")) for text in process.args)


def environment(process: Process) -> str | None:
    """Return the environment, joined with blanks."""
    return None if process.env is None else " ".join(process.env)


def variable(process: Process, name: str) -> str | None:
    """Return the value of one variable; "" if the environment is known and lacks it."""
    if process.env is None:
        return None
    prefix = name + "="
    return next((entry[len(prefix) :] for entry in process.env if entry.startswith(prefix)), "")


def inherited_variable(rows: Rows, process: Process, name: str) -> str | None:
    """Return a variable's value in the nearest ancestor that has it; "" if none has, None if none is known."""
    known = process.parent < 0
    for level, parent in enumerate(ancestors(rows, process)):
        if level >= _ENV_LEVELS:
            break
        value = variable(parent, name)
        if value:
            return value
        known = known or value is not None
    return "" if known else None


def working_directory(process: Process) -> str | None:
    """Return the working directory with a trailing slash, as in Falco."""
    cwd = process.cwd
    return cwd if not cwd or cwd[-1] == "/" else cwd + "/"


def login_shell(rows: Rows, process: Process) -> int | None:
    """Return the pid of the oldest shell among the process and its ancestors."""
    found = None
    for row in (process, *ancestors(rows, process)):
        if row.name is not None and len(row.name) >= 2 and row.name.endswith("sh"):
            found = row.pid
    return found


def session_leader(rows: Rows, process: Process) -> Process | None:
    """Return the session's leader, or the oldest known process of the session if the leader has exited."""
    return _leader(rows, process, process.session_leader, "sid")


def group_leader(rows: Rows, process: Process) -> Process | None:
    """Return the process group's leader, or the oldest known process of the group if the leader has exited."""
    return _leader(rows, process, process.group_leader, "pgid")


def leaders(rows: Rows, process: Process) -> Iterator[tuple[str, Process]]:
    """Yield the leaders of the session and of the process group, and the entry leader; only those that are known.

    The entry leader is the leader of the session in which someone or something entered the host: that of a login,
    of a service, or of a container. Source: ECS, process.entry_leader.
    """
    if process.group_leader >= 0:
        yield "group_leader", rows[process.group_leader]
    if process.session_leader < 0:
        return
    leader = rows[process.session_leader]
    yield "session_leader", leader
    for _ in range(MAX_ANCESTORS):
        above = rows[leader.parent] if leader.parent >= 0 else _INIT
        if above.pid == 1 or above.name in _ENTRIES or above.container != leader.container or above.session_leader < 0:
            break
        leader = rows[above.session_leader]
    yield "entry_leader", leader


def _leader(rows: Rows, process: Process, leader: int, kind: str) -> Process | None:
    if leader >= 0:
        return rows[leader]
    own = getattr(process, kind)
    if own is None:
        return None
    found = process
    for row in ancestors(rows, process):
        if getattr(row, kind) != own:
            break
        found = row
    return found


def attribute(row: Process | None, name: str) -> str | None:
    """Return an attribute of a row that may be unknown."""
    return None if row is None else getattr(row, name)


def capability_text(mask: int | None) -> str | None:
    """Return the names in a capability set, separated by blanks."""
    if mask is None:
        return None
    return " ".join(name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


def difference(later: int | None, earlier: int | None) -> int | None:
    """Return the difference of two times; None if either is unknown."""
    return None if later is None or earlier is None else later - earlier


def is_leader(own: int | None, leader: int | None) -> bool | None:
    """Return whether a process's own id is that of its group or session; None if either is unknown."""
    return None if own is None or leader is None else own == leader


def cgroup_of(text: str | None, subsystem: str) -> str | None:
    """Return the path of one cgroup subsystem, or the only path if all subsystems share one."""
    if text is None:
        return None
    entries = [entry.partition("=") for entry in text.split()]
    if not any(mark for _, mark, _ in entries):
        return text
    return next((path for name, mark, path in entries if mark and name == subsystem), None)


def descriptor_uid(thread: int, fd_num: int | None) -> str | None:
    """Return fd.uid: the thread id followed by the descriptor number."""
    return None if fd_num is None else f"{thread}{fd_num}"


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
