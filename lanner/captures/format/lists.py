"""The lists at the beginning of a capture: machine, processes, descriptors, users.

Source: libscap's savefile reader. Since version 9 of the process list, and 2 of the others, entries begin with their
length, and newer writers append to them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from collector.records.decode import ip_text
from lanner.captures.format.blocks import Block, Cursor, text_of, texts_of

_NOBODY = 0xFFFFFFFF
MACHINE = frozenset({0x201, 0x8002ABCD})
_PROCESS_VERSIONS = {
    **dict(zip((0x202, 0x207, 0x209, 0x210, 0x211, 0x212, 0x213, 0x214, 0x215), range(1, 10), strict=True)),
    **dict(zip((0x8000ABCD, 0x8013ABCD, 0x8014ABCD), range(1, 4), strict=True)),
}
PROCESSES = frozenset(_PROCESS_VERSIONS)
_SIZED_DESCRIPTORS, _SIZED_USERS = 0x218, 0x220
DESCRIPTORS = frozenset({0x203, 0x8001ABCD, _SIZED_DESCRIPTORS})
USERS = frozenset({0x206, 0x8012ABCD, _SIZED_USERS})
_SIZED_INTERFACES = 0x219
INTERFACES = frozenset({0x205, 0x8011ABCD, _SIZED_INTERFACES})
_FORMER_BYTES = 29
"""Bytes after the root in entries that lack the terminal and the namespace's start, which came before the others."""
_IDS = [struct.Struct(f"<{count}q") for count in range(6)]
_USER = struct.Struct("<QIII")
_TAIL = struct.Struct("<QIIBQQQBQQQBBq")
"""The parameters after the root in entries of today's writers."""
_FORMER_TAIL = (
    *(("pidns_start", "Q", 0), ("tty", "I", 0), ("loginuid", "I", _NOBODY), ("exe_writable", "B", 0)),
    *(("cap_inheritable", "Q", 0), ("cap_permitted", "Q", 0), ("cap_effective", "Q", 0), ("upper_layer", "B", 0)),
    *(("exe_ino", "Q", 0), ("exe_ctime", "Q", 0), ("exe_mtime", "Q", 0), ("from_memfd", "B", 0)),
    *(("lower_layer", "B", 0), ("pgid", "q", -1)),
)
"""The parameters after the root in entries of former writers, which ended after any of them: name, code, default."""
_NAME = 16
"""Bytes of an interface's name in the kernel."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The host on which the capture was made."""

    hostname: str = ""
    boot_time: int = 0
    """Nanoseconds since the epoch; 0 if unknown."""


@dataclass(slots=True)
class ListedThread:
    """A thread that existed when the capture began."""

    tid: int
    pid: int
    ptid: int
    sid: int = -1
    vpgid: int = -1
    comm: str = ""
    exe: str = ""
    exepath: str = ""
    args: tuple[str, ...] = ()
    cwd: str = ""
    flags: int = 0
    uid: int = _NOBODY
    gid: int = _NOBODY
    env: tuple[str, ...] = ()
    vtid: int = -1
    vpid: int = -1
    cgroups: tuple[str, ...] = ()
    pidns_start: int = 0
    tty: int = 0
    loginuid: int = _NOBODY
    exe_writable: int = 0
    cap_inheritable: int = 0
    cap_permitted: int = 0
    cap_effective: int = 0
    upper_layer: int = 0
    exe_ino: int = 0
    exe_ctime: int = 0
    exe_mtime: int = 0
    from_memfd: int = 0
    lower_layer: int = 0
    pgid: int = -1


@dataclass(frozen=True, slots=True)
class ListedDescriptor:
    """A descriptor that was open when the capture began."""

    tid: int
    number: int
    type: int
    ino: int
    name: str = ""
    flags: int = 0
    dev: int = 0
    local: tuple[str, int] | None = None
    remote: tuple[str, int] | None = None
    protocol: int = 0


@dataclass(frozen=True, slots=True)
class ListedUser:
    """An account."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A group of accounts."""

    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Interface:
    """An address of an interface."""

    name: str
    address: str
    netmask: int
    """0 for IPv6."""


def read_machine(name: str, block: Block) -> Machine:
    """Read the description of the host."""
    cursor = Cursor(name, block)
    for code in "IQQ":
        cursor.number(code)
    return Machine(text_of(cursor.data(128)), cursor.number("Q"))


def read_processes(name: str, block: Block) -> Iterator[ListedThread]:
    """Yield the entries of a process list."""
    cursor = Cursor(name, block)
    version = _PROCESS_VERSIONS[block.type]
    for _ in _entries(cursor, is_sized=version >= 9):
        thread = _thread(cursor, version)
        if version >= 9:
            _read_tail(cursor, thread)
        yield thread


def _entries(cursor: Cursor, *, is_sized: bool, uncounted: int = 0) -> Iterator[None]:
    """Yield at the beginning of each entry; in one that begins with its length, skip what a newer writer appended.

    uncounted: bytes that the length leaves out: its own, in lists of interfaces.
    """
    while cursor.left >= 4:
        start, outer = cursor.at, cursor.end
        if is_sized:
            size = cursor.number("I") + uncounted
            if not 4 <= size <= outer - start:
                raise cursor.error(f"an entry claims {size:,} bytes, but the block has {outer - start:,} left")
            cursor.end = start + size
        yield
        if is_sized:
            cursor.at, cursor.end = cursor.end, outer


def _thread(cursor: Cursor, version: int) -> ListedThread:
    tid, pid, ptid, *others = cursor.numbers(_IDS[3 + (version >= 6) + (version >= 8)])
    thread = ListedThread(tid, pid, ptid)
    thread.sid, thread.vpgid = (*others, -1, -1)[:2]
    thread.comm, thread.exe = cursor.text(), cursor.text()
    if version >= 7:
        thread.exepath = cursor.text()
    thread.args, thread.cwd = texts_of(cursor.sized()), cursor.text()
    _, thread.flags, thread.uid, thread.gid = cursor.numbers(_USER)
    if version >= 2:
        cursor.data(28)
    if version >= 3:
        thread.env = texts_of(cursor.sized())
    if version >= 4:
        thread.vtid, thread.vpid = cursor.numbers(_IDS[2])
        thread.cgroups = texts_of(cursor.sized())
    if version >= 5:
        cursor.sized()
    return thread


def _read_tail(cursor: Cursor, thread: ListedThread) -> None:
    if cursor.left >= _TAIL.size:
        (
            thread.pidns_start,
            thread.tty,
            thread.loginuid,
            thread.exe_writable,
            thread.cap_inheritable,
            thread.cap_permitted,
            thread.cap_effective,
            thread.upper_layer,
            thread.exe_ino,
            thread.exe_ctime,
            thread.exe_mtime,
            thread.from_memfd,
            thread.lower_layer,
            thread.pgid,
        ) = cursor.numbers(_TAIL)
        return
    for name, code, default in _FORMER_TAIL[0 if cursor.left > _FORMER_BYTES else 2 :]:
        setattr(thread, name, cursor.number_if_left(code, default))


def read_descriptors(name: str, block: Block) -> Iterator[ListedDescriptor]:
    """Yield the entries of a list of descriptors."""
    cursor = Cursor(name, block)
    tid, is_sized = cursor.number("q"), block.type == _SIZED_DESCRIPTORS
    for _ in _entries(cursor, is_sized=is_sized):
        yield _descriptor(cursor, tid, is_sized=is_sized)


def _descriptor(cursor: Cursor, tid: int, *, is_sized: bool) -> ListedDescriptor:
    number, ino, kind = cursor.number("q"), cursor.number("Q"), cursor.number("B")
    if kind in (3, 4):
        width = 4 if kind == 3 else 16
        near, far = _address(cursor, width), _address(cursor, width)
        local, remote = (near, cursor.number("H")), (far, cursor.number("H"))
        return ListedDescriptor(tid, number, kind, ino, local=local, remote=remote, protocol=cursor.number("B"))
    if kind in (5, 6):
        local = (_address(cursor, 4 if kind == 5 else 16), cursor.number("H"))
        return ListedDescriptor(tid, number, kind, ino, local=local, protocol=cursor.number("B"))
    if kind == 8:
        cursor.data(16)
        return ListedDescriptor(tid, number, kind, ino, name=cursor.text())
    if kind == 16:
        flags, path = cursor.number("I"), cursor.text()
        return ListedDescriptor(tid, number, kind, ino, path, flags, cursor.number_if_left("I", 0) if is_sized else 0)
    if 1 <= kind <= 21:
        return ListedDescriptor(tid, number, kind, ino, cursor.text())
    if not is_sized and kind:
        raise cursor.error(f"a descriptor has the unknown type {kind}")
    return ListedDescriptor(tid, number, 10, ino)


def _address(cursor: Cursor, size: int) -> str:
    return ip_text(2 if size == 4 else 10, cursor.data(size))


def read_interfaces(name: str, block: Block) -> Iterator[Interface]:
    """Yield the addresses of a list of interfaces."""
    cursor = Cursor(name, block)
    for _ in _entries(cursor, is_sized=block.type == _SIZED_INTERFACES, uncounted=4):
        kind, size = cursor.number("H"), cursor.number("H")
        if kind not in {1, 2, 3, 4}:
            raise cursor.error(f"an interface has the unknown type {kind}")
        width = 4 if kind in {1, 3} else 16
        address = _address(cursor, width)
        mask = int.from_bytes(cursor.data(width), "big") if width == 4 else 0
        cursor.data((width if width == 4 else 2 * width) + (8 if kind in {1, 2} else 0))
        yield Interface(text_of(cursor.data(size)[:_NAME]), address, mask)


def read_users(name: str, block: Block) -> Iterator[ListedUser | ListedGroup]:
    """Yield the accounts and groups of a list of users."""
    cursor = Cursor(name, block)
    for _ in _entries(cursor, is_sized=block.type == _SIZED_USERS):
        if cursor.number("B") == 0:
            uid, gid = cursor.number("I"), cursor.number("I")
            yield ListedUser(uid, gid, cursor.text(), cursor.text(), cursor.text())
        else:
            yield ListedGroup(cursor.number("I"), cursor.text())
