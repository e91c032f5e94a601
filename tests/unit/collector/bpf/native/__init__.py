"""The kernel side's own source, compiled for this machine: what it filters and reports of invented calls."""

import ctypes
import mmap
import re
import struct
import subprocess
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from collector.bpf.build import SOURCE
from collector.bpf.program import CALLED
from collector.events.system_calls import CALLS, CWD, DescriptorFlag, descriptors, watched_numbers
from collector.kernel import x86_64
from collector.kernel.offsets import type_names
from collector.pushdown import MASK_BITS, MAX_ROWS, MAX_TESTS, FilterLayout, entries
from collector.records.decode import decode
from collector.records.kernel_maps import REPEAT_BYTES, REPEAT_SLOTS
from collector.records.types import File, Socket, Syscall
from schemas.filter import CLASSES, MAX_PREFIX, MAX_VALUES

AT_FDCWD = -100
UNREADABLE = 8
DIRECTORY_FD = 200
_MEMORY = 4 << 20
_MAP_32BIT = 0x40
_OBJECT = 4096
_NEW_USER, _NEW_NAMESPACES = 0x10000000, 0x6E020080
_DESCRIPTORS = 1024
_SETTING_FILTER = 0
_RING_BYTES = 1 << 32
_CHARGES = (1 << 19) + (1 << 15)
"""Bytes of all counters of what is charged to accounts."""
_PORTABLE = {
    "NUMBER": "((u64)(n))",
    "AT": "((void *)(p) + (o))",
    "TIMES": "((u64)(x) * (n))",
    "LOAD": "(*(type *)((void *)(p) + (o)))",
    "MASK": "((x) &= (m))",
}
"""What the macros with instructions of BPF mean, which this machine's assembler doesn't know."""
_TIED = {
    "PATH_MNT": 0,
    "PATH_DENTRY": 8,
    "VFSMOUNT_ROOT": 0,
    "MOUNT_ROOT": 32,
    "MOUNT_PARENT": 16,
    "MOUNT_MOUNTPOINT": 24,
    "MOUNT_MNT": 32,
    "DENTRY_PARENT": 0,
    "DENTRY_NAME_LEN": 12,
    "DENTRY_NAME": 16,
    "CGROUP_ANCESTORS": 4000,
}
"""Offsets of members inside other objects, and of members read together."""


class NativeKernel:
    """One process in one kernel, of which only memory is real."""

    def __init__(self, folder: Path, *, has_cast: bool = True) -> None:
        """Compile into a folder; AssertionError with the compiler's messages.

        Args:
            folder: for the library.
            has_cast: whether the kernel has bpf_rdonly_cast.
        """
        self.root = "/"
        """The root directory of the process."""
        source = SOURCE.read_text()
        names = sorted(set(re.findall(r"\bO_([A-Z0-9_]+)", source)) - _TIED.keys())
        self._at = {name: 32 * number for number, name in enumerate(names)} | _TIED
        flags: dict[str, int | str] = {f"O_{name}": offset for name, offset in self._at.items()}
        flags |= {"N_PIDS_ON_V1": 1, "N_UPID_BYTES": 16, "N_OVERLAY": 0, "N_URING": 0, "N_GETNAME": 0, "N_TURN": 0}
        flags |= {"N_TTY": 1, "N_LOGINUID": 1, "N_UNIX": 1, "N_IPV6": 1, "N_TCP_ROLES": 1} | x86_64.CONSTANTS
        flags |= {"PLACEHOLDER": 0, "EVENT_PAGES": 1, "LIFECYCLE_PAGES": 1}
        flags |= {"MASK_WORDS": MASK_BITS // 64, "MAX_PREFIX": MAX_PREFIX, "CLASSES": CLASSES}
        flags |= {"MAX_ROWS": MAX_ROWS, "MAX_TESTS": MAX_TESTS, "MAX_VALUES": MAX_VALUES}
        flags |= {"REPEAT_SLOTS": REPEAT_SLOTS, "REPEAT_BYTES": REPEAT_BYTES}
        flags |= {f"CALL_{name.upper()}": name for name in CALLED}
        if has_cast:
            flags |= {"CAST_CALL": "cast_object"} | dict.fromkeys(type_names().values(), 1)
        text, replaced = re.subn(r"(?m)^(#define (\w+)\([\w, ]+\) ).*\basm volatile.*$", _portable, source)
        assert replaced == len(_PORTABLE)
        (folder / "lanner.c").write_text(text)
        library = folder / "lanner.so"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-fno-strict-aliasing"]
        command += ["-include", str(Path(__file__).with_name("kernel.h"))]
        command += [*(f"-D{name}={value}" for name, value in flags.items()), "-o", str(library)]
        done = subprocess.run(
            [*command, str(folder / "lanner.c")], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        self._library = ctypes.CDLL(str(library))
        # Within reach of 32-bit pointers.
        self._memory = mmap.mmap(-1, _MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_32BIT)
        self._free = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._end = self._free + _MEMORY
        self._set("memory_start", self._free)
        self._set("memory_end", self._end)
        self._begin()

    def _set(self, name: str, value: int) -> None:
        ctypes.c_uint64.in_dll(self._library, name).value = value

    def cells(self, name: str, size: int) -> "ctypes.Array[ctypes.c_char]":
        """Return the first bytes of a table's memory."""
        return (ctypes.c_char * size).in_dll(self._library, f"{name}_cells")

    def set_clock(self, now: int) -> None:
        """Set the boot-clock time at which calls return, in nanoseconds."""
        self._set("now", now)

    def set_cpu(self, number: int) -> None:
        """Set the CPU on which calls return."""
        self._set("current_cpu", number)

    def set_process(self, number: int) -> None:
        """Set the pid of the process that makes calls."""
        self._set("current_thread", number << 32 | number)

    def set_user(self, number: int) -> None:
        """Set the real user of the process that makes calls."""
        self._put(self._cred, "CRED_UID", number, 4)

    def set_cgroup(self, *path: int) -> None:
        """Set the cgroup of the process that makes calls, by numbers that stand for the components of its path."""
        self._put(self._cgroup, "CGROUP_LEVEL", len(path), 4)
        ancestors = struct.pack(f"<{len(path) + 1}Q", 1, *path)
        ctypes.memmove(self._cgroup + self._at["CGROUP_ANCESTORS"], ancestors, len(ancestors))

    def set_ring(self, size: int) -> None:
        """Begin with an empty ring of events of so many bytes."""
        self.cells("charges", _CHARGES)[:] = bytes(_CHARGES)
        struct.pack_into("<5Q", self.cells("ring_uses", 40), 0, 0, 0, size, 0, 0)

    def fill_ring(self, *, is_full: bool) -> None:
        """Make the ring of events refuse everything, or accept everything again."""
        self._set("ring_is_full", int(is_full))

    def set_setting(self, number: int, value: int) -> None:
        """Set a setting by its index among the kernel side's."""
        (ctypes.c_uint64 * 8).in_dll(self._library, "settings_cells")[number] = value

    def take(self) -> list[bytes]:
        """Return the records that were sent since the last call."""
        size = ctypes.c_uint64.in_dll(self._library, "told_size")
        data = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(self._library, "told")), size.value)
        size.value = 0
        records = []
        while data:
            end = 8 + int.from_bytes(data[:8], "little")
            records.append(data[8:end])
            data = data[end:]
        return records

    def _begin(self) -> None:
        """Create the process that makes calls."""
        self._task, self._cred, self._fs, files, table, parent = (self._new() for _ in range(6))
        self._put(parent, "TASK_CRED", self._new())
        self._registers = self._new()
        self._files = self._new(8 * _DESCRIPTORS)
        self._opened: list[int] = []
        for name, value in (
            *(("TASK_GROUP_LEADER", self._task), ("TASK_CRED", self._cred), ("TASK_FS", self._fs)),
            *(("TASK_FILES", files), ("TASK_SIGNAL", self._new())),
            *(("TASK_REAL_PARENT", parent), ("TASK_START_BOOTTIME", 5), ("TASK_SELF_EXEC_ID", 1)),
        ):
            self._put(self._task, name, value)
        self._put(files, "FILES_FDT", table)
        self._put(table, "FDTABLE_MAX_FDS", _DESCRIPTORS, 4)
        self._put(table, "FDTABLE_FD", self._files)
        self._set("current_task", self._task)
        self._set("current_registers", self._registers)
        self._set("current_thread", 10 << 32 | 11)
        self._cgroup, subsystem = self._new(), self._new()
        self._put(self._task, "TASK_CGROUPS", cgroups := self._new())
        self._put(cgroups, "CSS_SET_PIDS", subsystem)
        self._put(subsystem, "CSS_CGROUP", self._cgroup)
        self.set_ring(_RING_BYTES)
        self._retained = self._free
        self._dentries: dict[tuple[bytes | int, ...], tuple[int, int]] = {}

    def _new(self, size: int = _OBJECT) -> int:
        address = self._free
        self._free += (size + 15) & ~15
        assert self._free <= self._end
        ctypes.memset(address, 0, size)
        return address

    def _put(self, address: int, name: str, value: int, size: int = 8) -> None:
        ctypes.memmove(address + self._at[name], (value & (1 << 8 * size) - 1).to_bytes(size, "little"), size)

    def _text(self, data: bytes) -> int:
        address = self._new(len(data) + 64)
        ctypes.memmove(address, data, len(data))
        return address

    def _put_path(self, address: int, name: str, path: str, mounts: Iterable[int] = ()) -> None:
        """Create the dentries of a path, shared by a call, with a mount at the components with these indices."""
        known: tuple[bytes | int, ...] = ()
        if known not in self._dentries:
            mount, entry = self._new(), self._new(32)
            self._put(mount, "MOUNT_PARENT", mount)
            self._put(mount, "MOUNT_MNT", entry)
            self._put(entry, "DENTRY_PARENT", entry)
            self._dentries[known] = mount, entry
        for number, part in enumerate(path.encode("utf-8", "surrogateescape").split(b"/")[1:]):
            if not part:
                continue
            mount, entry = self._dentries[known]
            known = (*known, part)
            if known not in self._dentries:
                below = self._new(32)
                self._put(below, "DENTRY_PARENT", entry)
                self._put(below, "DENTRY_NAME_LEN", len(part), 4)
                self._put(below, "DENTRY_NAME", self._text(part))
                self._dentries[known] = mount, below
            if number in mounts:
                upper, below = self._dentries[known]
                known = (*known, number)
                mount, entry = self._new(), self._new(32)
                self._put(mount, "MOUNT_PARENT", upper)
                self._put(mount, "MOUNT_MOUNTPOINT", below)
                self._put(mount, "MOUNT_MNT", entry)
                self._put(entry, "DENTRY_PARENT", entry)
                self._dentries[known] = mount, entry
        mount, entry = self._dentries[known]
        at = address + self._at[name]
        ctypes.memmove(at, (mount + self._at["MOUNT_MNT"]).to_bytes(8, "little"), 8)
        ctypes.memmove(at + 8, entry.to_bytes(8, "little"), 8)

    def put(self, layout: FilterLayout | None, events: Iterable[str], generation: int = 0) -> None:
        """Watch these event types with a filter, written beside that of the other generation.

        Args:
            layout: None to report everything.
            events: event types.
            generation: 0 or 1.
        """
        sent = frozenset(events)
        by_number, by_socketcall = descriptors(sent)
        for name, table, size, width in (
            *(("descriptors", by_number, 1024, 18), ("socketcalls", by_socketcall, 32, 18)),
            ("watched", watched_numbers(by_number, sent), 512, 1),
        ):
            cells = (ctypes.c_char * (width * size)).in_dll(self._library, f"{name}_cells")
            cells[:] = b"".join(table.get(number, bytes(width)) for number in range(size))
        for name in ("prefix_masks", "suffix_masks"):
            self._forget(name, generation)
        for name, key, value in [] if layout is None else entries(layout, generation):
            if len(key) > 4:
                self._add(name, key, value)
            else:
                cell = (ctypes.c_char * len(value)).in_dll(self._library, f"{name}_cells")
                ctypes.memmove(ctypes.addressof(cell) + int.from_bytes(key, "little") * len(value), value, len(value))
        settings = (ctypes.c_uint64 * 2).in_dll(self._library, "settings_cells")
        settings[_SETTING_FILTER] = 0 if layout is None else 2 + generation

    def _add(self, name: str, key: bytes, value: bytes) -> None:
        used = ctypes.c_uint32.in_dll(self._library, f"{name}_used")
        for part, data in (("keys", key), ("cells", value)):
            cells = ctypes.addressof(ctypes.c_char.in_dll(self._library, f"{name}_{part}"))
            ctypes.memmove(cells + used.value * len(data), data, len(data))
        used.value += 1

    def _forget(self, name: str, generation: int) -> None:
        used = ctypes.c_uint32.in_dll(self._library, f"{name}_used")
        sizes = {"keys": 8 + (MAX_PREFIX if name == "prefix_masks" else 32), "cells": MASK_BITS // 8}
        data = {
            part: ctypes.string_at(
                ctypes.addressof(ctypes.c_char.in_dll(self._library, f"{name}_{part}")), used.value * n
            )
            for part, n in sizes.items()
        }
        rows = [
            (data["keys"][number * sizes["keys"] :][: sizes["keys"]], data["cells"][number * 64 :][: sizes["cells"]])
            for number in range(used.value)
        ]
        used.value = 0
        for key, value in rows:
            if int.from_bytes(key[4:8], "little") != generation:
                self._add(name, key, value)

    def call(self, made: Syscall, *, is_multiplexed: bool = False) -> Syscall | None:
        """Return from a call; return the record that is sent, if any. Arguments as for make."""
        self.make(made, is_multiplexed=is_multiplexed)
        sent = [decode(record) for record in self.take()]
        if not sent:
            return None
        (record,) = sent
        assert isinstance(record, Syscall)
        return record

    def make(self, made: Syscall, *, is_multiplexed: bool = False) -> None:
        """Return from a call, with the given results.

        Args:
            made: the call. Registers that hold pointers are set here, and so is the descriptor of a directory. A file
                with path None has too many components to be reported.
            is_multiplexed: whether a 32-bit call uses socketcall, if it can.
        """
        self._free = self._retained
        self._dentries = {}
        while self._opened:
            ctypes.memset(self._files + 8 * self._opened.pop(), 0, 8)
        call = CALLS[made.event]
        numbers = x86_64.COMPAT if made.is_compat else x86_64.NATIVE
        number = next(number for number, event in numbers.items() if event == call.event)
        arguments = list(made.arguments)
        for (register, directory), path in zip(call.paths, (made.path1, made.path2), strict=False):
            # Without a path, the descriptor is the file's, not the directory's.
            arguments[register] = 0 if directory == call.fd and made.fd is not None else UNREADABLE
            if path is not None:
                arguments[register] = self._text(path.encode("utf-8", "surrogateescape") + b"\0")
            if directory < CWD:
                arguments[directory] = self._start(made, arguments[directory])
        self._put_path(self._fs, "FS_PWD", made.directory1 or "/somewhere")
        self._put_path(self._fs, "FS_ROOT", self.root)
        if self.root != "/":
            # The process is in no mount namespace, as the host in the settings.
            self._put(self._task, "TASK_NSPROXY", self._new())
        for (register, _, size_register), data in zip(call.blobs, (made.blob1, made.blob2), strict=False):
            if register < CWD:
                arguments[register] = self._text(data) if data else 0
            if size_register < CWD:
                arguments[size_register] = len(data)
        if call.flags & DescriptorFlag.CLONE_ARGUMENTS:
            arguments[0] = self._text(struct.pack("<Q", arguments[2]))
            # A child has the namespaces that it requested.
            users, others = arguments[2] & _NEW_USER, arguments[2] & _NEW_NAMESPACES
            self._put(self._cred, "CRED_USER_NS", self._new() if users else 0)
            self._put(self._task, "TASK_NSPROXY", self._new() if others else 0)
        self._put(self._cred, "CRED_EUID", made.who.uid, 4)
        if made.fd is not None and call.fd < CWD:
            arguments[call.fd] = made.fd
        if made.fd is not None and 0 <= made.fd < _DESCRIPTORS and (made.file or made.socket):
            self._open(made.fd, made.file, made.socket)
        self._put(self._task, "TASK_COMPAT", 2 * made.is_compat, 4)
        if made.is_compat and is_multiplexed and call.event in x86_64.SOCKETCALLS.values():
            words = b"".join((value & 0xFFFFFFFF).to_bytes(4, "little") for value in arguments)
            which = next(which for which, event in x86_64.SOCKETCALLS.items() if event == call.event)
            number, arguments = x86_64.SOCKETCALL, [which, self._text(words), 0, 0, 0, 0]
        self._put(self._registers, "CALL", number)
        for which, value in enumerate(arguments, start=1):
            self._put(self._registers, f"COMPAT_ARGUMENT_{which}" if made.is_compat else f"ARGUMENT_{which}", value)
        context = (ctypes.c_uint64 * 2)(self._registers, made.result & (1 << 64) - 1)
        self._library.on_sys_exit(context)

    def _start(self, made: Syscall, descriptor: int) -> int:
        """Return the descriptor of a relative path's directory: in turn open, the working one, invalid."""
        if made.directory1 is None:
            return DIRECTORY_FD - 1
        if descriptor & 1:
            return AT_FDCWD
        return self._open(DIRECTORY_FD, File(0o40755, 1, 1, 1, made.directory1, *[False] * 4), None)

    def _open(self, descriptor: int, file: File | None, sock: Socket | None) -> int:
        opened, inode, block = self._new(), self._new(), self._new()
        ctypes.memmove(self._files + 8 * descriptor, opened.to_bytes(8, "little"), 8)
        self._opened.append(descriptor)
        self._put(opened, "FILE_INODE", inode)
        self._put(inode, "INODE_SB", block)
        self._put(inode, "INODE_MODE", 0o140777 if file is None else file.mode, 2)
        if sock is not None:
            self._put(opened, "FILE_PRIVATE", holder := self._new())
            self._put(holder, "SOCKET_SK", self._socket(sock))
        if file is not None:
            self._put(inode, "INODE_INO", file.ino)
            self._put(block, "SB_DEV", file.dev, 4)
            self._put(block, "SB_MAGIC", file.magic)
            self._put(opened, "FILE_MODE", 0x100000 * file.is_created, 4)
            path = "/d" * 70 if file.path is None else file.path
            self._put_path(opened, "FILE_PATH", path, mounts={len(path) % 5})
        return descriptor

    def _socket(self, sock: Socket) -> int:
        address = self._new()
        for name, value, size in (
            *(("SOCK_FAMILY", sock.family, 2), ("SOCK_TYPE", sock.type, 2), ("SOCK_PROTOCOL", sock.protocol, 2)),
            *(("SOCK_STATE", sock.state, 1), ("SOCK_NUM", sock.local_port, 2)),
            ("SOCK_DPORT", int.from_bytes(sock.remote_port.to_bytes(2, "big"), "little"), 2),
            ("SOCK_MAX_ACK_BACKLOG", 8 if sock.is_server else 0, 4),
        ):
            self._put(address, name, value, size)
        bucket = self._new()
        self._put(bucket, "BUCKET_FASTREUSE", -1 if sock.is_server is False else 0, 1)
        self._put(address, "CONNECTION_BIND_HASH", bucket)
        for name, text in (("RCV_SADDR", sock.local_ip), ("DADDR", sock.remote_ip)):
            if not text:
                continue
            packed = ip_address(text).packed
            if sock.family == 10 and len(packed) == 4:
                packed = bytes(10) + b"\xff\xff" + packed
            prefix = "SOCK_V6_" if sock.family == 10 else "SOCK_"
            ctypes.memmove(address + self._at[prefix + name], packed, len(packed))
        return address


def _portable(macro: re.Match[str]) -> str:
    return macro[1] + _PORTABLE[macro[2]]
