"""Decodes the kernel side's records into plain values. lanner.bpf.c defines the layouts."""

import socket
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from collector.records.exec_strings import code_path, entries_of, script_of, shown
from collector.records.types import (
    Exec,
    ExecParts,
    Exit,
    File,
    Fork,
    ProcessIdentity,
    Record,
    RepeatCount,
    Request,
    Socket,
    State,
    Syscall,
)


class Layout:
    """One packed C struct: its format, and the offset of each member from the start of the record.

    Args:
        start: offset of the struct in the record.
        members: `struct` format and name of each member, separated by commas.
    """

    def __init__(self, start: int, members: str) -> None:
        self._formats: dict[str, str] = {}
        self._spans: dict[str, slice] = {}
        at = start
        for member in members.split(", "):
            form, name = member.split(" ")
            size = struct.calcsize(f"<{form}")
            self._formats[name] = form
            self._spans[name] = slice(at, at + size)
            at += size
        self.struct = struct.Struct("<" + "".join(self._formats.values()))
        self.end = at
        """Offset of what follows the struct."""

    def span(self, name: str) -> slice:
        """Return the bytes of a member."""
        return self._spans[name]

    def between(self, before: str, after: str) -> slice:
        """Return the bytes between two members."""
        return slice(self._spans[before].stop, self._spans[after].start)

    def reader(self, *names: str) -> struct.Struct:
        """Return a struct that unpacks only these members of a record; they must be in order."""
        form, at = "<", 0
        for name in names:
            span = self._spans[name]
            form += f"{span.start - at}x{self._formats[name]}"
            at = span.stop
        return struct.Struct(form)


HEAD = Layout(0, "Q time, Q start_time, Q cgroup, I pid, I tid, I uid, I exec_generation, H kind, H flags, I cpu")
"""Begins every record."""

SYSCALL = Layout(
    HEAD.end,
    "q result, Q argument0, Q argument1, 4Q arguments, Q inode, I device, I magic, i fd, H mode, H event, I vtid, "
    "I padding, H real_path, H path1, H path2, H directory1, H directory2, H blob1, H blob2, H socket",
)
"""A system call or io_uring request, without its texts; their lengths are the last members."""

SOCKET = Layout(
    SYSCALL.end,
    "H family, H type, H protocol, H local_port, H remote_port, H unix_length, B state, B role, 2x padding, 16s local, "
    "16s remote, 128s name",
)
"""The first part after a system call, if its descriptor is a socket."""


_HEAD, _SYSCALL = HEAD.struct, SYSCALL.struct
_STATE, _IMAGE = struct.Struct("<8I4Q16s"), struct.Struct("<Qqq6IH6x8H")
_FORK = struct.Struct("<QIIII")
_EXIT = struct.Struct("<II")
_REQUEST = struct.Struct("<3QI4x")
_REPEATS = struct.Struct("<2Q2I")
_SOCKET = SOCKET.struct
_SYSCALL_DATA = SYSCALL.end
_PARENT = struct.Struct("<2I")
_SHARED_AT = _HEAD.size + _PARENT.size
_MOST_CACHED_BYTES = 4096

_COMPAT, _KERNEL_PATH_CUT, _OVERLAY, _UPPER, _PSEUDO, _ARGS_CUT, _CREATED, _LAST_WHOLE = 1, 2, 4, 8, 16, 32, 128, 256
_ENV_CUT, _SCRIPT, _SECURE, _CODE_UNKNOWN, _NEW_SETUID = 512, 1024, 2048, 4096, 8192
_UNTOLD, _MULTISHOT, _CONNECTS = 1, 2, 8
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_CLIENT, _SERVER = 1, 2
"""Roles of a socket; 0 if it isn't known."""
_UNSET = 0xFFFFFFFF
_INT64_MAX = (1 << 63) - 1
_NANOSECONDS = 0x7FFFFFFF
"""Since Linux 6.13 the top bit marks that the time was queried (include/linux/fs.h, I_CTIME_QUERIED)."""
_EXECVEAT = frozenset({322, 358, 281, 387})
"""Numbers of x86-64, its 32-bit entry, arm64 and 32-bit ARM; execve has none of these anywhere."""
_TIME, _FLAGS = HEAD.span("time"), HEAD.span("flags")


def decode(record: bytes, variables: frozenset[str] | None = None) -> Record:
    """Decode one record.

    Args:
        record: as sent by the kernel side.
        variables: names of the environment variables that an exec shows; None if it shows none.

    Raises:
        ValueError: it isn't valid, for example from another version's program.
    """
    try:
        time, start_time, cgroup_id, tgid, tid, uid, exec_id, kind, flags, cpu = _HEAD.unpack_from(record)
        if kind == _KIND_EXEC:
            who = ProcessIdentity(time, tgid, tid, start_time, exec_id, uid, cgroup_id)
            return _exec(record, who, flags, cpu, variables)
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise ValueError(f"unknown record kind: {kind}")
        return decoder(record, ProcessIdentity(time, tgid, tid, start_time, exec_id, uid, cgroup_id), flags, cpu)
    except struct.error as error:
        raise ValueError(f"truncated record: {error}") from error


def text(data: bytes) -> str:
    """Decode a C string up to its NUL; any bytes survive a round trip."""
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _syscall(record: bytes, who: ProcessIdentity, flags: int, cpu: int) -> Syscall:
    result, a0, a1, a2, a3, a4, a5, ino, dev, magic, fd, mode, event, vtid, _, *lengths = _SYSCALL.unpack_from(
        record, _HEAD.size
    )
    kernel_path, path1, path2, directory1, directory2, blob1, blob2, sock = lengths
    # In the order in which the kernel side writes them.
    kernel_path_at = _SYSCALL_DATA + sock
    path1_at = kernel_path_at + kernel_path
    directory1_at = path1_at + path1
    path2_at = directory1_at + directory1
    directory2_at = path2_at + path2
    blob1_at = directory2_at + directory2
    blob2_at = blob1_at + blob1
    end = blob2_at + blob2
    if end > len(record):
        raise ValueError("truncated record: its parts are longer than the record")
    file = None
    if mode and not sock:
        is_upper = bool(flags & _UPPER)
        file = File(
            mode,
            dev,
            ino,
            magic,
            text(record[kernel_path_at:path1_at]) if kernel_path else None,
            bool(flags & _PSEUDO),
            bool(flags & _CREATED),
            is_upper,
            bool(flags & _OVERLAY) and not is_upper,
            bool(flags & _NEW_SETUID),
        )
    # Positional arguments: keywords take twice as long.
    return Syscall(
        who,
        event,
        cpu,
        vtid,
        bool(flags & _COMPAT),
        result,
        (a0, a1, a2, a3, a4, a5),
        fd if fd != -1 or mode else None,
        file,
        _socket(record[_SYSCALL_DATA:kernel_path_at]) if sock else None,
        text(record[path1_at:directory1_at]) if path1 else None,
        text(record[path2_at:directory2_at]) if path2 else None,
        text(record[directory1_at:path2_at]) if directory1 else None,
        text(record[directory2_at:blob1_at]) if directory2 else None,
        record[blob1_at:blob2_at],
        record[blob2_at:end],
        is_last_whole=bool(flags & _LAST_WHOLE),
        socket_inode=ino if sock else 0,
    )


def _request(record: bytes, who: ProcessIdentity, flags: int, cpu: int) -> Request:
    address, ring, user_data, marks = _REQUEST.unpack_from(record, _SYSCALL_DATA)
    call = record[:_SYSCALL_DATA] + record[_SYSCALL_DATA + _REQUEST.size :]
    return Request(
        call=_syscall(call, who, flags, cpu),
        address=address,
        ring=ring,
        user_data=user_data,
        is_done=_HEAD.unpack_from(record)[7] == _KIND_RESULT,
        is_untold=bool(marks & _UNTOLD),
        is_multishot=bool(marks & _MULTISHOT),
        connects=bool(marks & _CONNECTS),
    )


@lru_cache(maxsize=512)
def _socket(data: bytes) -> Socket:
    family, kind, protocol, local_port, remote_port, unix_length, state, role, *rest = _SOCKET.unpack(data)
    local, remote, name = rest
    return Socket(
        family=family,
        type=kind,
        protocol=protocol,
        state=state,
        local_ip=ip_text(family, local),
        remote_ip=ip_text(family, remote),
        local_port=local_port,
        remote_port=remote_port,
        unix_path=unix_text(name[:unix_length]) if family == _AF_UNIX else "",
        is_server={_CLIENT: False, _SERVER: True}.get(role),
    )


def epoch_time(nanoseconds: int) -> int:
    """Clamp a file's time to 64 bits: on tmpfs any user may set times beyond that range."""
    return max(-_INT64_MAX, min(nanoseconds, _INT64_MAX))


def ip_text(family: int, address: bytes) -> str:
    """Format an address as Falco does: an IPv4-mapped IPv6 address is written as IPv4."""
    if family == _AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[:4])
    if family != _AF_INET6:
        return ""
    if address[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, address[12:16])
    return socket.inet_ntop(socket.AF_INET6, address)


def unix_text(name: bytes) -> str:
    """Format the name of a unix socket; an abstract one begins with @, as in /proc/net/unix."""
    if name[:1] == b"\0":
        return "@" + name[1:].rstrip(b"\0").decode("utf-8", "surrogateescape")
    return text(name)


def _state(record: bytes, who: ProcessIdentity, flags: int, _cpu: int) -> State:
    ppid, vpid = _PARENT.unpack_from(record, _HEAD.size)
    return State(who, ppid, vpid, *_parts(record[_SHARED_AT:], flags, who.uid, who.cgroup_id, None).state)


def _exec(record: bytes, who: ProcessIdentity, flags: int, cpu: int, variables: frozenset[str] | None) -> Exec:
    ppid, vpid = _PARENT.unpack_from(record, _HEAD.size)
    shared = record[_SHARED_AT:]
    is_short = len(shared) <= _MOST_CACHED_BYTES
    parts = (_cached_parts if is_short else _parts)(shared, flags, who.uid, who.cgroup_id, variables)
    done = Exec(State(who, ppid, vpid, *parts.state), *parts.image)
    done.cpu, done.parts = cpu, parts
    return done


def _parts(data: bytes, flags: int, uid: int, _cgroup_id: int, variables: frozenset[str] | None) -> ExecParts:
    """Decode what similar records share: all of an exec's or a state's record after the parent's and the inner pid.

    User and cgroup are arguments so that records which differ in them are not similar.
    """
    pgid, vpgid, sid, tty, loginuid, gid, pid_namespace, mount_namespace, *rest, comm = _STATE.unpack_from(data)
    number, cwd, cgroup, filename, exepath, args, env, *file = _image(data[_STATE.size :])
    script = filename if flags & _SCRIPT else None
    known, is_secure = None if flags & _CODE_UNKNOWN else env, bool(flags & _SECURE)
    codepath = code_path(exepath, script, known, cwd=None if uid else cwd, is_secure=is_secure)
    visible = None if variables is None else tuple(shown(env, variables))
    login = -1 if loginuid == _UNSET else loginuid
    effective, permitted, inheritable, start = rest
    capabilities = (effective, permitted, inheritable)
    is_upper = bool(flags & _UPPER)
    return ExecParts(
        (
            *(pgid, vpgid, sid, tty, login, gid, *capabilities),
            *(pid_namespace, mount_namespace, start, text(comm), cwd, cgroup),
        ),
        (
            *(filename, exepath, codepath, args, bool(flags & _ARGS_CUT), visible, *file),
            is_upper,
            bool(flags & _OVERLAY) and not is_upper,
            bool(flags & _PSEUDO) and exepath.startswith("memfd:"),
            "execveat" if number in _EXECVEAT else "execve",
            0,
            bool(flags & _ENV_CUT),
            script_of(exepath, args, cwd, script),
        ),
    )


# The same program is often started in the same way: by a shell's loop, a probe of health, a build.
_cached_parts = lru_cache(maxsize=128)(_parts)


def _image(data: bytes) -> tuple[Any, ...]:
    """Decode all of a process's record that follows its state.

    Returns:
        The system call's number, cwd and cgroup, then members of Exec from `filename` on without the marks.
    """
    ino, ctime_s, mtime_s, ctime_ns, mtime_ns, dev, uid, gid, number, mode, *lengths = _IMAGE.unpack_from(data)
    pieces = []
    at = _IMAGE.size
    for length in lengths[:6]:
        pieces.append(data[at : at + length])
        at += length
    if at > len(data):
        raise ValueError("truncated record: its parts are longer than the record")
    exepath, cwd, args, env, filename, cgroup = pieces
    changed = epoch_time(ctime_s * 10**9 + (ctime_ns & _NANOSECONDS))
    modified = epoch_time(mtime_s * 10**9 + (mtime_ns & _NANOSECONDS))
    file = (ino, dev, mode, uid, gid, changed, modified)
    strings = tuple(part.decode("utf-8", "surrogateescape") for part in entries_of(args))
    return number, text(cwd), text(cgroup), text(filename), text(exepath), strings, entries_of(env), *file


def _fork(record: bytes, who: ProcessIdentity, _flags: int, _cpu: int) -> Fork:
    start_time, pid, vpid, exec_id, real_parent = _FORK.unpack_from(record, _HEAD.size)
    return Fork(who, pid, start_time, vpid, exec_id, real_parent)


def _exit(record: bytes, who: ProcessIdentity, _flags: int, cpu: int) -> Exit:
    return Exit(who, _EXIT.unpack_from(record, _HEAD.size)[0], cpu)


def _repeats(record: bytes, _who: ProcessIdentity, _flags: int, _cpu: int) -> RepeatCount:
    count, last, slot, generation = _REPEATS.unpack_from(record, _HEAD.size)
    return RepeatCount(slot, generation, count, last, record[_HEAD.size + _REPEATS.size :], is_final=True)


def as_of(time: int, record: bytes) -> bytes:
    """Return a record with another time, in boot-clock nanoseconds."""
    return time.to_bytes(8, "little") + record[_TIME.stop :]


def identity_of(record: bytes) -> bytes:
    """Return what equal records share: all bytes but the time and the mark of the last record sent whole."""
    flags = int.from_bytes(record[_FLAGS], "little") & ~_LAST_WHOLE
    return record[_TIME.stop : _FLAGS.start] + flags.to_bytes(2, "little") + record[_FLAGS.stop :]


KIND_SYSCALL, _KIND_EXEC = 1, 3
_KIND_REQUEST, _KIND_RESULT, _KIND_REPEATS = 6, 7, 8
_DECODERS: Mapping[int, Callable[[bytes, ProcessIdentity, int, int], Record]] = {
    KIND_SYSCALL: _syscall,
    2: _fork,
    4: _state,
    5: _exit,
    _KIND_REQUEST: _request,
    _KIND_RESULT: _request,
    _KIND_REPEATS: _repeats,
}
