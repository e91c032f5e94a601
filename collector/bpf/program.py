"""Loads the compiled BPF program; the result is a set of maps and attached probes."""

import ctypes
import errno
import os
import platform
import re
import struct
import threading
import zlib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

from collector.bpf import relocations
from collector.bpf.relocations import Relocation
from collector.events.system_calls import PATHS_ONLY
from collector.kernel import bpf_syscall
from collector.kernel.architecture import HERE
from collector.kernel.offsets import CAST, CAST_CALL, GETNAME, PATH_COPIES, PUTNAME, SYS_EXIT, TRACEPOINTS, TURN, URING
from collector.records.kernel_maps import REPEAT_SLOTS
from foundation.errors import EnvironmentUnsupported

_TRACEPOINT = "kmem_cache_free"
_CALLS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("access", "chdir", "rmdir", "unlink", "chmod", "chown", "mkdir", "mknod", "execve"), (0,)),
    **dict.fromkeys(("rename", "link", "symlink"), (0, 1)),
    **dict.fromkeys(("unlinkat", "fchmodat", "fchownat", "mkdirat", "mknodat"), (1,)),
    **dict.fromkeys(("renameat", "linkat"), (1, 3)),
    "symlinkat": (0, 2),
}
"""Event types of calls that free paths in different functions of the kernel, and which of their arguments are paths.

The sandboxes of systemd and of container runtimes permit them all; arm64 lacks most of those without a directory.
"""
_U32 = struct.Struct("<I")

_libc = ctypes.CDLL(None, use_errno=True)


class PathCopies:
    """The programs that take copies."""

    def __init__(
        self, maps: dict[str, int], copy_bytes: int, programs: Mapping[str, int], *, needs_getname: bool
    ) -> None:
        """Take ownership of programs; close() closes them.

        Args:
            maps: descriptors by name.
            copy_bytes: size of a value of the map copied_names.
            programs: those of on_freed, on_putname and on_getname that the kernel accepts. on_putname does the same as
                on_freed in less time.
            needs_getname: whether on_putname and on_getname can only do it together, and on_freed can't.
        """
        self._maps = maps
        self._copy_bytes = copy_bytes
        self._freed, self._putname, self._getname = map(programs.get, (_FREED, _PUTNAME, _GETNAME))
        self._needs_getname = needs_getname
        self._links: list[int] = []
        self.are_refused = False
        """True if only programs at functions could take copies, and this kernel refuses them."""

    def switch(self, *, enabled: bool) -> None:
        """Take copies or not. Raises OSError if the kernel refuses on_freed."""
        if not enabled:
            self._attach()
        elif not self._links and self._needs_getname:
            self._try_getname()
        elif not self._links and self._freed is not None:
            self._attach(self._freed)
            if self._putname is not None:
                self._try_putname()

    def close(self) -> None:
        """Release everything."""
        self._attach()
        for program in (self._freed, self._getname):
            if program is not None:
                os.close(program)
        self._forget_putname()

    def _try_getname(self) -> None:
        self.are_refused = self._getname is None or self._putname is None
        if not self.are_refused:
            try:
                self._attach(self._getname, self._putname)
            except OSError:
                self._attach()
                self.are_refused = True

    def _try_putname(self) -> None:
        expected = self._seen()
        with suppress(OSError):
            self._attach(self._putname)
            # None are found where this thread has another number in the kernel, in a PID namespace of its own.
            if expected and self._seen() >= expected:
                return
        self._attach(self._freed)
        self._forget_putname()

    def _forget_putname(self) -> None:
        program, self._putname = self._putname, None
        if program is not None:
            os.close(program)

    def _attach(self, *programs: int | None) -> None:
        """Attach these programs and no others. Raises OSError if the kernel refuses."""
        while self._links:
            os.close(self._links.pop())
        for program in programs:
            if program is not None:
                tracepoint = _TRACEPOINT if program == self._freed else ""
                self._links.append(bpf_syscall.attach_raw_tracepoint(program, tracepoint))

    def _seen(self) -> set[tuple[str, int]]:
        """Make calls that fail, because their paths don't exist, and return the paths that were copied."""
        numbers = {event: number for number, event in HERE.NATIVE.items() if event in _CALLS}
        return {(event, at) for event, number in numbers.items() for at in self._copied(number, _CALLS[event])}

    def _copied(self, number: int, places: tuple[int, ...]) -> set[int]:
        paths = {at: f"/{os.urandom(16).hex()}/{at}".encode() for at in places}
        watched, copied = self._maps["watched"], self._maps["copied_names"]
        thread, key = _U32.pack(threading.get_native_id()), _U32.pack(number)
        before = bpf_syscall.lookup(watched, key, 1)
        bpf_syscall.update(watched, key, PATHS_ONLY)
        _libc.syscall(ctypes.c_long(number), *(ctypes.c_char_p(paths.get(at)) for at in range(6)))
        bpf_syscall.update(watched, key, before)
        with suppress(OSError):  # nothing was copied
            copies = bpf_syscall.lookup(copied, thread, self._copy_bytes)
            bpf_syscall.delete(copied, thread)
            return {at for at, path in paths.items() if path + b"\0" in copies}
        return set()


_PROBES = {"on_exec": "sched_process_exec", "on_fork": "sched_process_fork", "on_exit": "sched_process_exit"}
_ENTRY = "on_sys_exit"
_FREED, _PUTNAME, _GETNAME = "on_freed", "on_putname", "on_getname"
_AT_FUNCTIONS = {_PUTNAME: (PUTNAME, bpf_syscall.ENTRY), _GETNAME: (GETNAME, bpf_syscall.RETURN)}
"""Programs at functions of the kernel: the number of the function, and where in it."""
_CONNECTING, _TCP_STATE = "on_connecting", "inet_sock_set_state"
_STEPS = ("tell_state", "judge_call", "judge_path", "tell_call", "send_call")
"""Programs that the entry point tail-calls, by enum step."""
_SCRATCH = "_scratch"
"""How the names of maps end in which a program builds a record."""
_PREEMPTED_FROM = (7, 0)
"""The first Linux that may preempt a program at a tracepoint."""
_DOUBLED = (*_PROBES, _ENTRY, *_STEPS)
"""Programs of which a second copy does what the kernel skips the first one for."""
_STEPS_MAP = "steps"
_SECOND = "second."
"""How the names of second copies begin, and of their maps."""
_ONLY, _TWICE = (0,), (1, 2)
TYPED, UNTYPED = "typed", "untyped"
FUNCTIONS = (*_PROBES, _FREED, *_AT_FUNCTIONS, _CONNECTING, _ENTRY, *_STEPS, *TRACEPOINTS)
"""All programs of the source."""
CALLED = {
    "append_variables": 0x7FFF0002,
    "walk_path": 0x7FFF0003,
    "find_hello": 0x7FFF0004,
    "find_answer": 0x7FFF0005,
    "append_pieces": 0x7FFF0006,
}
"""Functions of the source that the verifier follows once in each program that calls them, and the numbers that stand
for them in compiled programs."""
_ARRAY = 2
"""BPF_MAP_TYPE_ARRAY."""


@dataclass(frozen=True, slots=True)
class RingSizes:
    """Sizes of the two rings in bytes, each a power of two."""

    events: int = 16 << 20
    lifecycle: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Compilation:
    """Everything that load() needs."""

    maps: Mapping[str, Mapping[str, int]]
    """Layouts by name."""
    variants: Mapping[str, Mapping[str, Any]]
    """Programs by name: those that read objects by their types (TYPED), and those for kernels where that is refused."""
    numbers: Mapping[str, int]
    """The running kernel's."""


class LoadedProgram:
    """The loaded program: maps by name, attached until closed."""

    def __init__(self, maps: dict[str, int], copies: PathCopies, connecting: int) -> None:
        """Take ownership of maps, of the programs that copy paths, and of the one that sees TCP connect."""
        self.maps = maps
        self.path_copies = copies
        self._probes: list[int] = []
        self._connecting, self._connections = connecting, -1
        self._counted: dict[str, int] = {}
        """Attached programs whose skipped runs are counted, by name."""

    def attach(self, loaded: dict[str, int]) -> None:
        """Attach every probe, lifecycle first, so that no event comes from an unknown process."""
        for copy in ("", _SECOND) if _SECOND + _ENTRY in loaded else ("",):
            for number, name in enumerate(_STEPS):
                step = struct.pack("<I", loaded[copy + name])
                bpf_syscall.update(self.maps[copy + _STEPS_MAP], struct.pack("<I", number), step)
            for name in ("on_exit", "on_fork", "on_exec", _ENTRY):
                program = loaded[copy + name]
                self._counted[copy + name] = os.dup(program)
                self._probes.append(bpf_syscall.attach_raw_tracepoint(program, _PROBES.get(name, "")))
        for name, tracepoints in TRACEPOINTS.items():
            if name in loaded:
                self._counted[name] = os.dup(loaded[name])
                self._probes.append(_attach_to_any(loaded[name], tracepoints))

    def runs_skipped(self, *, only_lifecycle: bool = False) -> int:
        """Return how many runs the kernel has skipped, each of which is at most one lost record.

        Of a program with two copies, both miss what is lost. Not of the programs that copy paths or see TCP connect:
        interrupts make the kernel skip these, too, mostly where nobody needs them, and otherwise the path or address
        comes from the caller's memory.
        """
        names = _PROBES if only_lifecycle else (*_PROBES, _ENTRY, *TRACEPOINTS)
        copies = ([self._counted[each] for each in (name, _SECOND + name) if each in self._counted] for name in names)
        return sum(min(map(bpf_syscall.recursion_misses, each), default=0) for each in copies)

    def watch_connections(self, *, enabled: bool) -> None:
        """See each TCP connection where the kernel begins it, or not."""
        if enabled and self._connections < 0:
            self._connections = bpf_syscall.attach_raw_tracepoint(self._connecting, _TCP_STATE)
        elif not enabled and self._connections >= 0:
            os.close(self._connections)
            self._connections = -1

    def detach(self) -> None:
        """Detach the probes; records in the rings stay readable."""
        self.path_copies.switch(enabled=False)
        self.watch_connections(enabled=False)
        while self._probes:
            os.close(self._probes.pop())

    def close(self) -> None:
        """Release all kernel resources."""
        self.detach()
        if self.maps:
            self.path_copies.close()
            os.close(self._connecting)
        for descriptor in (*self.maps.values(), *self._counted.values()):
            os.close(descriptor)
        self.maps, self._counted = {}, {}


def _attach_to_any(program: int, tracepoints: Iterable[str]) -> int:
    """Attach a program to the first tracepoint that the kernel has."""
    newest, *older = tracepoints
    try:
        return bpf_syscall.attach_raw_tracepoint(program, newest)
    except FileNotFoundError:
        if not older:
            raise
        return _attach_to_any(program, older)


def load(compilation: Compilation, sizes: RingSizes) -> tuple[LoadedProgram, dict[str, int]]:
    """Create the maps and load the probes, not attached yet; raises EnvironmentUnsupported if the kernel refuses."""
    slots = REPEAT_SLOTS * bpf_syscall.possible_cpus()
    entries = {"events": sizes.events, "lifecycle": sizes.lifecycle, "repeats": slots, "repeated_records": slots}
    entries |= {} if GETNAME in compilation.numbers else {"copied_from": 1}
    maps: dict[str, int] = {}
    copies = _TWICE if _release() >= _PREEMPTED_FROM else _ONLY
    sources = {name: name for name in compilation.maps} | _own_maps(compilation, copies)
    try:
        for own_name, name in sources.items():
            layout = compilation.maps[name]
            maps[own_name] = bpf_syscall.create_map(
                name,
                kind=layout["map_type"],
                key_size=layout["key_size"],
                value_size=layout["value_size"],
                entries=entries.get(name, layout["max_entries"]),
                flags=layout["map_flags"],
            )
        loaded = _load_programs(compilation, maps, copies)
    except OSError as error:
        for descriptor in maps.values():
            os.close(descriptor)
        raise EnvironmentUnsupported(*_refusal(error)) from error
    programs = {name: loaded.pop(name) for name in (_FREED, *_AT_FUNCTIONS) if name in loaded}
    copy_bytes = compilation.maps["copied_names"]["value_size"]
    path_copies = PathCopies(maps, copy_bytes, programs, needs_getname=GETNAME in compilation.numbers)
    return LoadedProgram(maps, path_copies, loaded.pop(_CONNECTING)), loaded


def _own_maps(compilation: Compilation, copies: tuple[int, ...]) -> dict[str, str]:
    """Return the maps that belong to one program, and those of the source that they are made like."""
    absent = _absent(compilation.numbers)
    return {
        own_name: map_name
        for copy in copies
        for variant in compilation.variants.values()
        for name, program in variant.items()
        for _, map_name in program["maps"]
        if (own_name := _map_of(name, copy, map_name)) != map_name and not _is_left_out(name, copy, absent)
    }


def _is_left_out(name: str, copy: int, absent: set[str]) -> bool:
    return name in absent or (copy == _TWICE[1] and name not in _DOUBLED)


def _map_of(name: str, copy: int, map_name: str) -> str:
    """Return which map a program has for one of the source: the steps of the entry point share theirs with it."""
    if map_name != _STEPS_MAP and not map_name.endswith(_SCRATCH):
        return map_name
    owner = "" if name in {_ENTRY, *_STEPS} else f"{name}."
    return f"{_SECOND if copy == _TWICE[1] else ''}{owner}{map_name}"


def _load_programs(compilation: Compilation, maps: Mapping[str, int], copies: tuple[int, ...]) -> dict[str, int]:
    if CAST in compilation.numbers:
        # Some kernels have the function, but their verifier refuses what is done with it.
        with suppress(OSError):
            return _load_variant(compilation, TYPED, maps, copies)
    return _load_variant(compilation, UNTYPED, maps, copies)


def _absent(numbers: Mapping[str, int]) -> set[str]:
    """Return the programs that a kernel doesn't need, or can't have."""
    absent = {*(() if numbers.get(URING) else TRACEPOINTS), _FREED if GETNAME in numbers else _GETNAME}
    absent |= {name for name, (function, _) in _AT_FUNCTIONS.items() if function not in numbers}
    return absent | (set() if numbers.get(PATH_COPIES) else {_FREED, *_AT_FUNCTIONS})


def _load_variant(
    compilation: Compilation, variant: str, maps: Mapping[str, int], copies: tuple[int, ...] = _ONLY
) -> dict[str, int]:
    numbers = compilation.numbers
    absent = _absent(numbers)
    loaded: dict[str, int] = {}
    try:
        for copy, (name, program) in product(copies, compilation.variants[variant].items()):
            if _is_left_out(name, copy, absent):
                continue
            code = bytearray(zlib.decompress(b64decode(program["code"])))
            for at, map_name in program["maps"]:
                struct.pack_into("<i", code, at + 4, maps[_map_of(name, copy, map_name)])
            relocations.apply(code, [Relocation(*each) for each in program["relocations"]], {**numbers, TURN: copy})
            relocations.redirect(code, CAST_CALL, numbers.get(CAST, 0))
            if name in _AT_FUNCTIONS:
                function, place = _AT_FUNCTIONS[name]
                # Some systems refuse all programs at functions.
                with suppress(OSError):
                    loaded[name] = bpf_syscall.load_program(name, bytes(code), numbers[function], place=place)
                continue
            typed = numbers[SYS_EXIT] if name == _ENTRY or name in _STEPS else 0
            key = f"{_SECOND}{name}" if copy == _TWICE[1] else name
            loaded[key] = bpf_syscall.load_program(name, bytes(code), typed, called=program["called"])
    except (OSError, EnvironmentUnsupported):
        for descriptor in loaded.values():
            os.close(descriptor)
        raise
    return loaded


def check_rights() -> None:
    """Check whether this user may load BPF programs at all. Raises EnvironmentUnsupported."""
    try:
        os.close(bpf_syscall.create_map("rights", kind=_ARRAY, key_size=4, value_size=4, entries=1, flags=0))
    except OSError as error:
        raise EnvironmentUnsupported(*_refusal(error)) from error


def _release() -> tuple[int, ...]:
    """Return the first two numbers of the kernel's release."""
    return tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


def _refusal(error: OSError) -> tuple[str, str]:
    # Some distributions add to older kernels what the programs need; before 5.11, too large maps give EPERM.
    if _release() < HERE.OLDEST and (error.errno != errno.EPERM or not os.geteuid()):
        return (
            f"this kernel ({platform.release()}) is too old for the BPF program",
            "use a kernel from {}.{} on".format(*HERE.OLDEST),
        )
    if error.errno == errno.EPERM:
        return (
            "the kernel does not let this user load BPF programs",
            "run it as root: sudo lanner run"
            if os.geteuid()
            else "give this container CAP_SYS_ADMIN and CAP_SYS_PTRACE",
        )
    reason = f"the kernel refuses the BPF program: {error.strerror}"
    return reason, "see `lanner doctor`; report this kernel's version and the message"
