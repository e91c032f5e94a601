"""Builds an event of a batch, in terms of rule fields, from a system call, an exec or an exit."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import add
from signal import Signals

from collector.events.arguments import NAMES, WRITERS, data_text
from collector.events.batch_builder import BatchBuilder, Event, Intern
from collector.events.system_calls import BY_EVENT, CALLS, NONE, Call
from collector.events.texts import Context, Descriptor, Value, absolute, describe, joined
from collector.kernel.architecture import HERE
from collector.records.types import Exec, Exit, Syscall
from schemas.batch import MISSING_INT, EventBit, Process
from schemas.catalog.flags import number_text

NameOf = Callable[[int], str | None]
Text = str | None
Numbers = tuple[int, int, int, int, int]
Texts = tuple[Text, Text, Text, Text, Text, Text, Text, Text]
PathTexts = tuple[int, int, int, int, int, int]

# Combining members of a flag class costs more than the rest of an event.
_BIT = {bit.name: int(bit) for bit in EventBit}
_OPEN_READ, _OPEN_WRITE = _BIT["OPEN_READ"], _BIT["OPEN_WRITE"]
_OPEN_EXEC, _OPEN_CREATE = _BIT["OPEN_EXEC"], _BIT["OPEN_CREATE"]
_STALE, _FAILED, _HAS_RES = _BIT["PROCESS_STALE"], _BIT["FAILED"], _BIT["HAS_RES"]

_WITHOUT_RESULT = frozenset({"getuid", "geteuid", "getgid", "getegid", "getsockname", "getpeername"})
_O_TMPFILE = HERE.CONSTANTS["N_TMPFILE"]
_ROLES = "nst"
_RENAMEAT2, _EXCHANGE = BY_EVENT["renameat2"], 2
_NAMED_BY_PATH = frozenset({"file", "directory"})
_FALCO_CREATED, _FALCO_CREATING = 16384, 4 | 8192
_EXECUTABLE = 0o111
_MOST_ERRORS = 4096
_INT64_MAX = (1 << 63) - 1

_NO_DESCRIPTOR: Numbers = (MISSING_INT, 0, 0, -1, -1)
_NO_DESCRIPTOR_TEXTS: Texts = (None, None, None, None, None, None, None, None)
_NO_DESCRIPTOR_INDICES = (0,) * len(_NO_DESCRIPTOR_TEXTS)
_NO_PATHS: PathTexts = (0, 0, 0, 0, 0, 0)
_NO_DATA = (0, 0, 0, 0, 0)
_EXEC_NAMES = (
    *("res", "exe", "args", "tid", "pid", "ptid", "cwd", "fdlimit", "pgft_maj", "pgft_min", "vm_size", "vm_rss"),
    *("vm_swap", "comm", "cgroups", "env", "tty", "vpgid", "loginuid", "flags", "cap_inheritable", "cap_permitted"),
    *("cap_effective", "exe_ino", "exe_ino_ctime", "exe_ino_mtime", "uid", "trusted_exepath", "pgid", "gid"),
)
_EXEC_IDS = slice(_EXEC_NAMES.index("tid"), _EXEC_NAMES.index("ptid") + 1)
"""The arguments in which similar execs differ."""
_EXECVE_NAMES = (*_EXEC_NAMES, "filename")
_EXIT_NAMES = ("status", "ret", "sig", "core")
_MAPS = frozenset({"mmap", "mmap2"})
_PROT_EXEC = 4
_CODE_NAME = r"\.(?:so|ko|node|jar|py|pyc|pm|rb|lua|php|mo?js)(?:\.[0-9.]+)?"
_CODE = re.compile(rf"{_CODE_NAME}$")
NAMED_LIKE_CODE = re.compile(rf"{_CODE_NAME}\n?(?:\0|\Z)".encode())
"""Searched in a path of a record, it finds at least the names that loads_code() does."""
_NOT_COLLECTED = (None,) * 6
PROCEXIT = "procexit"
"""The end of a process's last thread. Not named after a system call, because exit never returns."""
_SIGNALS = frozenset(Signals)


@dataclass(slots=True)
class EventSource:
    """The process behind an event, shared by all its events until something about it changes."""

    process: Process
    row: int
    """Index of the process's row in the batch."""
    is_stale: bool
    """Some facts about the process are missing."""
    user_name: NameOf
    """Returns a user's name by uid, in the event's container."""
    group_name: NameOf


def add_syscall(
    builder: BatchBuilder,
    call: Syscall,
    origin: EventSource,
    time: int,
    outer: Callable[[str, str], str] = add,
    *,
    answer: Text = None,
    names: Callable[[str], Text] | None = None,
    server_name: Text = None,
    file: Text = None,
) -> Event:
    """Append a system call of a process to the batch under construction.

    Args:
        builder: the batch.
        call: the decoded record.
        origin: the process.
        time: epoch nanoseconds.
        outer: returns the path outside of a root directory, from that and an absolute path.
        answer: the answer of a name server that it received, as batches have it.
        file: what the file of code is that it opened or mapped, likewise.
        names: returns the names that were looked up for an address, likewise; None if there are none for any.
        server_name: the name in the ClientHello that it sent.
    """
    spec = CALLS[call.event]
    event = spec.event
    intern = builder.intern
    descriptor = describe(event, call)
    if descriptor is not None and spec.opens_file:
        descriptor.type = _opened_type(spec, call, descriptor.type)
    path1, path2 = _absolute_paths(spec, call, outer)
    context = Context(origin.process, descriptor, path1, path2, origin.user_name, origin.group_name, time)
    arguments = [write(call, context) for write in WRITERS[call.event]]
    bits = _STALE if origin.is_stale else 0
    if -_MOST_ERRORS < call.result < 0:
        bits |= _FAILED
    result = 0
    if event not in _WITHOUT_RESULT:
        result = call.result
        bits |= _HAS_RES
    if call.is_compat:
        bits |= _BIT["COMPAT_32"]
    if call.is_io_uring:
        bits |= _BIT["IO_URING"]
    if call.file is not None:
        if call.file.is_upper_layer:
            bits |= _BIT["UPPER_LAYER"]
        elif call.file.is_lower_layer:
            bits |= _BIT["LOWER_LAYER"]
    paths = _NO_PATHS
    numbers, texts = _NO_DESCRIPTOR, _NO_DESCRIPTOR_TEXTS
    if spec.opens_file:
        bits |= _open_bits(spec, arguments)
        if call.file is not None and call.file.is_new_setuid:
            bits |= _BIT["OPEN_SETUID"]
        numbers, texts = _opened(descriptor, path1, call.path1)
    else:
        if spec.path_roles:
            paths = _path_texts(spec, (call.path1, call.path2), (path1, path2), intern)
        if descriptor is not None:
            numbers, texts = _descriptor_columns(descriptor, descriptor.name, None)
            bits |= _descriptor_bits(descriptor)
    buffer = intern(data_text(call)) if call.blob1 and spec.has_data else 0
    head = (origin.row, call.who.tid, call.vtid, call.cpu, result, bits, call.repeats)
    looked_up = 0
    if names is not None and descriptor is not None and descriptor.remote_ip is not None:
        looked_up = intern(names(descriptor.remote_ip))
    data = (buffer, intern(answer), looked_up, intern(server_name), intern(file))
    row = (*head, *numbers, intern(event), *map(intern, texts), *paths, *data)
    return builder.add(time, row, NAMES[call.event], arguments)


def exchanged_back(call: Syscall) -> Syscall | None:
    """Return the other half of an exchange of two files, by which each has a new path; None for other calls."""
    if call.event != _RENAMEAT2.number or call.result or not call.arguments[4] & _EXCHANGE:
        return None
    old, old_path, new, new_path, flags, last = call.arguments
    return replace(
        call,
        arguments=(new, new_path, old, old_path, flags, last),
        path1=call.path2,
        path2=call.path1,
        directory1=call.directory2,
        directory2=call.directory1,
    )


def add_exec(builder: BatchBuilder, done: Exec, origin: EventSource, time: int) -> None:
    """Append a successful exec to the batch under construction; arguments as for add_syscall."""
    who, process, intern = done.state.who, origin.process, builder.intern
    head = (origin.row, who.tid, done.state.vpid, done.cpu)
    # Parts of the record, and all that the event shows of its process.
    names = (process.user, process.group, process.login_name)
    key = (done.parts, process.is_exe_writable, process.container, origin.is_stale, *names)
    similar = None if done.parts is None else builder.similar.get(key)
    if similar is not None:
        ids = (who.tid, who.pid, done.state.ppid)
        texts, numbers = similar.texts.copy(), similar.numbers.copy()
        texts[_EXEC_IDS], numbers[_EXEC_IDS] = map(intern, map(str, ids)), ids
        builder.add_similar(time, head, similar, texts, numbers)
        return
    path = absolute(done.state.cwd, done.filename)
    bits = _HAS_RES | (_STALE if origin.is_stale else 0)
    paths = (intern(path), intern(done.filename), 0, 0, 0, 0)
    row = (*head, 0, bits, 0, *_NO_DESCRIPTOR, intern(done.event_type), *_NO_DESCRIPTOR_INDICES, *paths, *_NO_DATA)
    arguments, values = _exec_arguments(done, origin)
    if done.event_type == "execve":
        event = builder.add_lists(time, row, _EXECVE_NAMES, [*arguments, done.filename], [*values, 0])
    else:
        event = builder.add_lists(time, row, _EXEC_NAMES, arguments, values)
    if done.parts is not None:
        builder.remember(key, event)


def add_exit(builder: BatchBuilder, done: Exit, origin: EventSource, time: int) -> None:
    """Append the end of a process to the batch under construction; arguments as for add_syscall."""
    head = (origin.row, done.who.tid, origin.process.vpid or done.who.tid, done.cpu)
    key = (PROCEXIT, done.status, origin.is_stale)
    similar = builder.similar.get(key)
    if similar is not None:
        builder.add_similar(time, head, similar, similar.texts, similar.numbers)
        return
    bits = _STALE if origin.is_stale else 0
    rest = (0, bits, 0, *_NO_DESCRIPTOR, builder.intern(PROCEXIT), *_NO_DESCRIPTOR_INDICES, *_NO_PATHS, *_NO_DATA)
    builder.remember(key, builder.add(time, (*head, *rest), _EXIT_NAMES, _exit_arguments(done.status)))


def _exit_arguments(status: int) -> tuple[Value, ...]:
    killed_by = status & 0x7F
    return (
        _number(status),
        _number(0 if killed_by else status >> 8),
        (Signals(killed_by).name if killed_by in _SIGNALS else str(killed_by), killed_by),
        _number(status >> 7 & 1),
    )


def _absolute_paths(spec: Call, call: Syscall, outer: Callable[[str, str], str]) -> tuple[str | None, str | None]:
    if not spec.paths:
        return None, None
    directory = spec.paths[0][1]
    first, second = call.path1 if directory == NONE else absolute(call.directory1, call.path1), None
    if len(spec.paths) > 1:
        directory = spec.paths[1][1]
        second = call.path2 if directory == NONE else absolute(call.directory2, call.path2)
    # After a chroot, the root is another one than that from which its path started.
    if call.is_below_other_root and spec.event != "chroot":
        first = _outside(call.directory1, call.path1, first, outer)
        second = _outside(call.directory2, call.path2, second, outer)
    return first, second


def _outside(root: Text, raw: Text, path: Text, outer: Callable[[str, str], str]) -> Text:
    return outer(root, path) if root and raw and raw.startswith("/") and path else path


def _path_texts(spec: Call, raw: tuple[Text, Text], clean: tuple[Text, Text], intern: Intern) -> PathTexts:
    texts = [0] * 6
    for role, raw_path, path in zip(spec.path_roles, raw, clean, strict=False):
        if role not in _ROLES:
            continue
        at = 2 * _ROLES.index(role)
        texts[at], texts[at + 1] = intern(path), intern(raw_path)
    name, name_raw, source, source_raw, target, target_raw = texts
    return name, name_raw, source, source_raw, target, target_raw


def _opened_type(spec: Call, call: Syscall, kind: str | None) -> str | None:
    """Return the type of what an open opens, as Falco has it (libsinsp parsers.cpp, parse_open_openat_creat_exit).

    Falco distinguishes a directory from a file by the flags only: by its path, even a named pipe is a file, and the
    path passed with O_TMPFILE is that of the directory.
    """
    if kind == "pipe":
        return "file"
    if spec.flags_at < 0:
        return kind
    return "directory" if kind == "file" and _flags_of(spec, call) & _O_TMPFILE == _O_TMPFILE else kind


def _flags_of(spec: Call, call: Syscall) -> int:
    """Return the flags of an open as passed."""
    register = spec.arguments[spec.flags_at].index
    return call.arguments[register] if register >= 0 else int.from_bytes(call.blob1[:8], "little")


def opens_for_writing(call: Syscall) -> bool:
    """Return whether a call opened a file for writing."""
    spec = CALLS[call.event]
    return spec.opens_file and call.result >= 0 and (spec.flags_at < 0 or bool(_flags_of(spec, call) & os.O_ACCMODE))


def begins_to_listen(call: Syscall) -> bool:
    """Return whether a call made a socket listen."""
    return CALLS[call.event].event == "listen" and call.result == 0


def loads_code(call: Syscall) -> bool:
    """Return whether a call mapped a file as code, or opened one that looks like a library, a module or a plugin."""
    spec = CALLS[call.event]
    if spec.event in _MAPS:
        return bool(call.arguments[2] & _PROT_EXEC) and not -_MOST_ERRORS < call.result < 0
    if not spec.opens_file or call.result < 0 or call.file is None or call.file.path is None:
        return False
    return _CODE.search(call.file.path) is not None and not opens_for_writing(call)


def _opened(descriptor: Descriptor | None, path: Text, raw: Text) -> tuple[Numbers, Texts]:
    """Name a freshly opened file by the requested path; the kernel's path stays beside it."""
    if descriptor is None:
        # A failed open has no descriptor, but the requested name still is its file.
        return _NO_DESCRIPTOR, (None, path, raw, None, None, None, None, None)
    has_path = path is not None and descriptor.type in _NAMED_BY_PATH
    return _descriptor_columns(descriptor, path if has_path else descriptor.name, raw)


def _descriptor_columns(descriptor: Descriptor, name: Text, raw: Text) -> tuple[Numbers, Texts]:
    numbers = (descriptor.number, descriptor.dev, descriptor.ino, descriptor.local_port, descriptor.remote_port)
    texts = (
        descriptor.type,
        name,
        raw,
        descriptor.real_path,
        descriptor.local_ip,
        descriptor.remote_ip,
        descriptor.protocol,
        descriptor.family,
    )
    return numbers, texts


def _descriptor_bits(descriptor: Descriptor) -> int:
    bits = 0
    if descriptor.is_server is not None:
        bits = _BIT["HAS_ROLE"] | (_BIT["IS_SERVER"] if descriptor.is_server else 0)
    if descriptor.is_connected:
        bits |= _BIT["CONNECTED"]
    if descriptor.is_name_changed:
        bits |= _BIT["NAME_CHANGED"]
    return bits


def _open_bits(spec: Call, arguments: list[Value]) -> int:
    """Return what an open was for, from Falco's flags (sinsp_filtercheck_event.cpp, TYPE_ISOPEN_READ and others)."""
    mode = arguments[spec.mode_at][1] if spec.mode_at >= 0 else 0
    if spec.flags_at < 0:
        return _OPEN_WRITE | _OPEN_CREATE | (_OPEN_EXEC if mode & _EXECUTABLE else 0)
    flags = arguments[spec.flags_at][1]
    bits = 0
    if flags & 1:
        bits |= _OPEN_READ
    if flags & 2:
        bits |= _OPEN_WRITE
    if flags & _FALCO_CREATING and mode & _EXECUTABLE:
        bits |= _OPEN_EXEC
    if flags & _FALCO_CREATED:
        bits |= _OPEN_CREATE
    return bits


def _exec_arguments(done: Exec, origin: EventSource) -> tuple[list[Text], list[int]]:
    state, user_name, group_name = done.state, origin.user_name, origin.group_name
    flags = (
        1 * bool(origin.process.is_exe_writable)
        | 2 * done.is_upper_layer
        | 4 * done.is_from_memfd
        | 8 * done.is_lower_layer
    )
    who, args, uid, gid, login = state.who, done.args, state.who.uid, state.gid, state.loginuid
    flags_text, flags = _exec_flags(flags)
    inheritable, inheritable_bits = _capabilities(state.cap_inheritable)
    permitted, permitted_bits = _capabilities(state.cap_permitted)
    effective, effective_bits = _capabilities(state.cap_effective)
    inode, inode_number = _number(done.exe_ino)
    # In the order of _EXEC_NAMES.
    texts = [
        "0",
        args[0] if args else "",
        joined(args[1:]),
        str(who.tid),
        str(who.pid),
        str(state.ppid),
        state.cwd,
        *_NOT_COLLECTED,
        state.comm,
        state.cgroup,
        joined(done.env) if done.env else None,
        str(state.tty),
        str(state.vpgid),
        "<NONE>" if login < 0 else user_name(login) or "<NA>",
        flags_text,
        inheritable,
        permitted,
        effective,
        inode,
        str(done.exe_ctime),
        str(done.exe_mtime),
        user_name(uid) or "<NA>",
        done.exepath.removeprefix("memfd:") if done.is_from_memfd else done.exepath,
        str(state.pgid),
        group_name(gid) or "<NA>",
    ]
    numbers = [
        *(0, 0, 0, who.tid, who.pid, state.ppid, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        *(state.tty, state.vpgid, login, flags, inheritable_bits, permitted_bits, effective_bits, inode_number),
        *(done.exe_ctime, done.exe_mtime, uid, 0, state.pgid, gid),
    ]
    return texts, numbers


def _number(value: int) -> Value:
    return str(value), min(value, _INT64_MAX)


@lru_cache(maxsize=256)
def _capabilities(value: int) -> Value:
    return f"{value:X}", min(value, _INT64_MAX)


@lru_cache(maxsize=32)
def _exec_flags(flags: int) -> Value:
    return number_text("execve_flags", flags) or "0", flags
