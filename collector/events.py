"""From a system call or an exec to an event of a batch: the words that rules ask for."""

from collections.abc import Callable
from dataclasses import dataclass

from collector.arguments import Context, joined, writers_of
from collector.batch_builder import BatchBuilder
from collector.descriptors import Descriptor, describe
from collector.paths import absolute
from collector.records import Exec, Syscall
from collector.syscalls import CALLS, NONE, Call
from schemas.batch import Process
from schemas.columns import MISSING_INT, EventBit
from schemas.flags import number_text

NameOf = Callable[[int], str | None]

_BLANK = {
    "time": 0,
    "process": 0,
    "thread": 0,
    "vthread": MISSING_INT,
    "cpu": 0,
    "res": 0,
    "bits": 0,
    "fd_num": MISSING_INT,
    "fd_dev": 0,
    "fd_ino": 0,
    "local_port": -1,
    "remote_port": -1,
    "type": 0,
    "fd_type": 0,
    "fd_name": 0,
    "fd_name_raw": 0,
    "fd_realpath": 0,
    "local_ip": 0,
    "remote_ip": 0,
    "l4proto": 0,
    "sock_family": 0,
    "path_name": 0,
    "path_name_raw": 0,
    "path_source": 0,
    "path_source_raw": 0,
    "path_target": 0,
    "path_target_raw": 0,
    "buffer": 0,
}
_OPENERS = frozenset({"open", "openat", "openat2", "creat", "open_by_handle_at"})
_ROLE_COLUMN = {"n": "path_name", "s": "path_source", "t": "path_target"}
_WITHOUT_RESULT = frozenset({"getuid", "geteuid", "getgid", "getegid"})
_CREATING_FLAGS = 4 | 8192
_MOST_ERRORS = 4096
_INT64_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made an event, and when."""

    process: Process
    row: int
    """Of the process in the batch."""
    time: int
    """Epoch nanoseconds."""
    user_name: NameOf
    """A user's name by number, in the event's container."""
    group_name: NameOf


def add_syscall(builder: BatchBuilder, call: Syscall, origin: Origin) -> None:
    """Append a system call to the batch under construction."""
    spec = CALLS[call.event]
    descriptor = describe(spec.event, call)
    path1, path2 = _absolute_paths(spec, call)
    context = Context(origin.process, descriptor, path1, path2, origin.user_name, origin.group_name)
    arguments = [(name, *write(call, context)) for name, write in writers_of(call.event)]
    values = dict(_BLANK)
    intern = builder.intern
    values.update(
        time=origin.time,
        process=origin.row,
        thread=call.who.tid,
        vthread=call.vtid,
        cpu=call.cpu,
        type=intern(spec.event),
    )
    failed = -_MOST_ERRORS < call.result < 0
    bits = EventBit.FAILED if failed else 0
    if spec.event not in _WITHOUT_RESULT:
        values["res"] = call.result
        bits |= EventBit.HAS_RES
    if call.is_compat:
        bits |= EventBit.COMPAT_32
    if spec.event in _OPENERS:
        bits |= _open_bits(spec.event, arguments)
        descriptor = _opened(descriptor, path1)
        values["fd_name_raw"] = intern(call.path1)
        if descriptor is None:
            # A failed open has no descriptor, but the name that was asked for still is its file.
            values["fd_name"] = intern(path1)
    else:
        for role, raw, path in zip(spec.path_roles, (call.path1, call.path2), (path1, path2), strict=False):
            column = _ROLE_COLUMN[role]
            values[column] = intern(path)
            values[f"{column}_raw"] = intern(raw)
    if call.file is not None:
        bits |= EventBit.UPPER_LAYER * call.file.is_upper_layer | EventBit.LOWER_LAYER * call.file.is_lower_layer
    if descriptor is not None:
        bits |= _fill_descriptor(values, descriptor, intern)
    if call.blob1 and any(name == "data" for name, _ in writers_of(call.event)):
        values["buffer"] = intern(call.blob1.decode("utf-8", "surrogateescape"))
    values["bits"] = int(bits)
    builder.add(values, arguments)


def add_exec(builder: BatchBuilder, done: Exec, origin: Origin) -> None:
    """Append a successful exec to the batch under construction."""
    values = dict(_BLANK)
    path = absolute(done.state.cwd, done.filename)
    values.update(
        time=origin.time,
        process=origin.row,
        thread=done.state.who.tid,
        vthread=done.state.vpid,
        type=builder.intern(done.event_type),
        bits=int(EventBit.HAS_RES),
        path_name=builder.intern(path),
        path_name_raw=builder.intern(done.filename),
    )
    builder.add(values, _exec_arguments(done, origin))


def _absolute_paths(spec: Call, call: Syscall) -> tuple[str | None, str | None]:
    raw = (call.path1, call.path2)
    directories = (call.directory1, call.directory2)
    found = [
        raw[position] if directory == NONE else absolute(directories[position], raw[position])
        for position, (_, directory) in enumerate(spec.paths)
    ]
    path1, path2 = (*found, None, None)[:2]
    return path1, path2


def _opened(descriptor: Descriptor | None, path: str | None) -> Descriptor | None:
    """Call a freshly opened file by the name that was asked for; the kernel's name stays beside it."""
    if descriptor is None or descriptor.type not in ("file", "directory", "pipe") or path is None:
        return descriptor
    return Descriptor(descriptor.number, descriptor.type, path, descriptor.real_path, descriptor.dev, descriptor.ino)


def _open_bits(event: str, arguments: list[tuple[str, str | None, int]]) -> int:
    numbers = {name: number for name, _, number in arguments}
    flags, mode = numbers.get("flags", 0), numbers.get("mode", 0)
    if event == "creat":
        return int(EventBit.OPEN_WRITE | EventBit.OPEN_CREATE | (EventBit.OPEN_EXEC if mode & 0o111 else 0))
    bits = 0
    if flags & 1:
        bits |= EventBit.OPEN_READ
    if flags & 2:
        bits |= EventBit.OPEN_WRITE
    if flags & _CREATING_FLAGS and mode & 0o111:
        bits |= EventBit.OPEN_EXEC
    if flags & 16384:
        bits |= EventBit.OPEN_CREATE
    return int(bits)


def _fill_descriptor(values: dict[str, int], descriptor: Descriptor, intern: Callable[[str | None], int]) -> int:
    values.update(
        fd_num=descriptor.number,
        fd_type=intern(descriptor.type),
        fd_name=intern(descriptor.name),
        fd_realpath=intern(descriptor.real_path),
        fd_dev=descriptor.dev,
        fd_ino=descriptor.ino,
        local_ip=intern(descriptor.local_ip),
        remote_ip=intern(descriptor.remote_ip),
        local_port=descriptor.local_port,
        remote_port=descriptor.remote_port,
        l4proto=intern(descriptor.protocol),
        sock_family=intern(descriptor.family),
    )
    bits = 0
    if descriptor.is_server is not None:
        bits |= EventBit.HAS_ROLE | (EventBit.IS_SERVER if descriptor.is_server else 0)
    if descriptor.is_connected:
        bits |= EventBit.CONNECTED
    if descriptor.is_name_changed:
        bits |= EventBit.NAME_CHANGED
    return int(bits)


def _exec_arguments(done: Exec, origin: Origin) -> list[tuple[str, str | None, int]]:
    state, user_name, group_name = done.state, origin.user_name, origin.group_name
    flags = (
        1 * bool(origin.process.is_exe_writable)
        | 2 * done.is_upper_layer
        | 4 * done.is_from_memfd
        | 8 * done.is_lower_layer
    )
    name = done.exepath.removeprefix("memfd:") if done.is_from_memfd else done.exepath

    def number(label: str, value: int) -> tuple[str, str | None, int]:
        return label, str(value), value

    def capabilities(label: str, value: int) -> tuple[str, str | None, int]:
        return label, f"{value:X}", min(value, _INT64_MAX)

    def missing(label: str) -> tuple[str, str | None, int]:
        return label, None, 0

    login = "<NONE>" if state.loginuid < 0 else user_name(state.loginuid) or "<NA>"
    rest = [("filename", done.filename, 0)] if done.event_type == "execve" else []
    return [
        number("res", 0),
        ("exe", done.args[0] if done.args else "", 0),
        ("args", joined(done.args[1:]), 0),
        number("tid", state.who.tid),
        number("pid", state.who.pid),
        number("ptid", state.ppid),
        ("cwd", state.cwd, 0),
        *(missing(label) for label in ("fdlimit", "pgft_maj", "pgft_min", "vm_size", "vm_rss", "vm_swap")),
        ("comm", state.comm, 0),
        ("cgroups", state.cgroup, 0),
        ("env", joined(done.env) if done.env else None, 0),
        number("tty", state.tty),
        number("vpgid", state.vpgid),
        ("loginuid", login, state.loginuid),
        ("flags", number_text("execve_flags", flags) or "0", flags),
        capabilities("cap_inheritable", state.cap_inheritable),
        capabilities("cap_permitted", state.cap_permitted),
        capabilities("cap_effective", state.cap_effective),
        number("exe_ino", done.exe_ino),
        number("exe_ino_ctime", done.exe_ctime),
        number("exe_ino_mtime", done.exe_mtime),
        ("uid", user_name(state.who.uid) or "<NA>", state.who.uid),
        ("trusted_exepath", name, 0),
        number("pgid", state.pgid),
        ("gid", group_name(state.gid) or "<NA>", state.gid),
        *rest,
    ]
