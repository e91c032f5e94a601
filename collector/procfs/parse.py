"""Parses the formats of /proc/PID/*: pure functions over their bytes.

Any text in them may be controlled by the process: it may name itself "x) R 1 1 1".
"""

from dataclasses import dataclass

MAX_ARGUMENT_BYTES = 4095
"""Bytes of a command line, as the kernel side reads at exec."""


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields used from /proc/PID/stat."""

    comm: str
    ppid: int
    tty: int
    """major << 8 | minor, as in kernel records: 34816 is the first pseudo terminal."""
    start_ticks: int
    is_kernel_thread: bool
    state: str
    """T or t: stopped, by a signal or by a debugger; Z and X: ended."""
    group: int
    session: int


@dataclass(frozen=True, slots=True)
class Status:
    """The fields used from /proc/PID/status; ids are the effective ones, in the reader's user namespace."""

    tgid: int
    uid: int
    gid: int
    vpid: int
    pgid: int | None
    vpgid: int | None
    sid: int | None
    cap_effective: int | None
    cap_permitted: int | None
    cap_inheritable: int | None
    uids: frozenset[int]
    """Real, effective, saved and file system user."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount of a process's namespace."""

    point: str
    type: str
    device: str = ""
    """major:minor, which identifies a file system in all namespaces."""
    options: str = ""
    """The file system's own options, comma-separated."""
    root: str = "/"
    """The path of the mounted directory in its file system."""


_KTHREAD_FLAG = 0x00200000


def parse_stat(text: bytes) -> Stat | None:
    """Parse /proc/PID/stat; return None if it was cut short.

    Source: proc_pid_stat(5). The name ends at the last parenthesis, as it may contain some itself.
    """
    head, separator, tail = text.rpartition(b")")
    fields = tail.split()
    if not separator or len(fields) < 20:
        return None
    try:
        flags = int(fields[6])
        return Stat(
            comm=text_of(head.partition(b"(")[2]),
            ppid=int(fields[1]),
            tty=tty_number(int(fields[4])),
            start_ticks=int(fields[19]),
            is_kernel_thread=bool(flags & _KTHREAD_FLAG),
            state=text_of(fields[0]),
            group=int(fields[2]),
            session=int(fields[3]),
        )
    except ValueError:
        return None


def tty_number(device: int) -> int:
    """Convert a device number as shown to programs into major << 8 | minor.

    Source: new_encode_dev in include/linux/kdev_t.h.
    """
    device &= 0xFFFFFFFF
    major = device >> 8 & 0xFFF
    minor = device & 0xFF | device >> 12 & 0xFFF00
    return major << 8 | minor


def parse_status(text: bytes) -> Status | None:
    """Parse /proc/PID/status; return None if a line that every kernel writes is missing.

    Source: proc_pid_status(5). The NS lines begin with the number in the reader's namespace and end with that in the
    process's own.
    """
    lines: dict[bytes, list[bytes]] = {}
    for line in text.split(b"\n"):
        key, _, value = line.partition(b":")
        # Name comes first and can't contain a line break (it is escaped), so later keys are the kernel's own.
        lines.setdefault(key, value.split())
    try:
        namespaced = [int(number) for number in lines.get(b"NSpid", lines[b"Pid"])]
        groups = [int(number) for number in lines.get(b"NSpgid", [])]
        sessions = [int(number) for number in lines.get(b"NSsid", [])]
        return Status(
            tgid=int(lines[b"Tgid"][0]),
            uid=int(lines[b"Uid"][1]),
            gid=int(lines[b"Gid"][1]),
            vpid=namespaced[-1],
            pgid=groups[0] if groups else None,
            vpgid=groups[-1] if groups else None,
            sid=sessions[0] if sessions else None,
            cap_effective=_hex(lines, b"CapEff"),
            cap_permitted=_hex(lines, b"CapPrm"),
            cap_inheritable=_hex(lines, b"CapInh"),
            uids=frozenset(map(int, lines[b"Uid"])),
        )
    except (KeyError, IndexError, ValueError):
        return None


def parse_cgroup(text: bytes) -> str | None:
    """Return the path of the pids cgroup (v1), else that of the unified hierarchy.

    It matches the kernel side's choice; on a hybrid host the unified hierarchy has no containers.

    Source: cgroups(7).
    """
    unified = None
    for line in text.split(b"\n"):
        number, _, rest = line.partition(b":")
        controllers, separator, path = rest.partition(b":")
        if not separator:
            continue
        if b"pids" in controllers.split(b","):
            return text_of(path)
        if number == b"0" and not controllers:
            unified = text_of(path)
    return unified


def parse_cmdline(text: bytes, limit: int = MAX_ARGUMENT_BYTES) -> tuple[str, ...]:
    """Split a command line, cut at the kernel side's limit; empty for kernel threads."""
    text = text[:limit]
    if not text:
        return ()
    return tuple(text_of(part) for part in text.removesuffix(b"\0").split(b"\0"))


def parse_mountinfo(text: bytes) -> list[Mounted]:
    """Return the mounts listed in a mountinfo file.

    Source: proc_pid_mountinfo(5). Octal escapes stay, because no path that is looked up contains any.
    """
    found = []
    for line in text.split(b"\n"):
        before, separator, after = line.partition(b" - ")
        fields = before.split(b" ")
        if separator and len(fields) >= 5:
            kind, _, rest = after.partition(b" ")
            options = rest.rpartition(b" ")[2]
            found.append(
                Mounted(text_of(fields[4]), text_of(kind), text_of(fields[2]), text_of(options), text_of(fields[3]))
            )
    return found


def text_of(raw: bytes) -> str:
    """Decode text so that every byte can be recovered."""
    return raw.decode("utf-8", "surrogateescape")


def _hex(lines: dict[bytes, list[bytes]], key: bytes) -> int | None:
    return int(lines[key][0], 16) if key in lines else None
