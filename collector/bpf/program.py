"""Compiles, caches and loads the BPF program; the result is a set of maps and attached probes.

The cache key covers everything that the bytecode depends on, and a start from the cache takes milliseconds.
"""

import ctypes
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import struct
import subprocess
import tempfile
import threading
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.bpf.program_cache import BuildTarget, find, write
from collector.events.system_calls import PATHS_ONLY
from collector.kernel import bpf_syscall, btf, offsets, x86_64
from collector.kernel.offsets import (
    CAST,
    CAST_CALL,
    PUTNAME,
    SYS_EXIT,
    TRACEPOINTS,
    definitions,
    fingerprint,
    without_types,
)
from collector.pushdown.layout import MASK_BITS, MAX_ROWS, MAX_TESTS
from collector.records.repeat_counts import REPEAT_BYTES, REPEAT_SLOTS
from foundation.errors import EnvironmentUnsupported
from schemas.filter import CLASSES, MAX_PREFIX, MAX_VALUES

_TRACEPOINT = "kmem_cache_free"
_CALLS = {
    **dict.fromkeys(("access", "chdir", "rmdir", "unlink", "chmod", "chown", "mkdir", "mknod", "execve"), 1),
    **dict.fromkeys(("rename", "link", "symlink"), 2),
}
"""Event types of calls that free paths in different functions of the kernel, and their number of paths, which are the
first arguments. The sandboxes of systemd and of container runtimes permit them all."""
_U32 = struct.Struct("<I")

_libc = ctypes.CDLL(None, use_errno=True)


class PathCopies:
    """The programs that take copies, at most one of them attached."""

    def __init__(self, maps: dict[str, int], copy_bytes: int, freed: int, putname: int | None) -> None:
        """Take ownership of programs; close() closes them. copy_bytes: size of a value of the map copied_names.

        putname is None if the kernel refuses that program.
        """
        self._maps = maps
        self._copy_bytes = copy_bytes
        self._freed, self._putname = freed, putname
        self._link = -1

    def switch(self, *, enabled: bool) -> None:
        """Take copies or not. Raises OSError if the kernel refuses."""
        if not enabled:
            self._attach(None)
        elif self._link < 0:
            self._attach(self._freed)
            if self._putname is not None:
                self._try_putname()

    def close(self) -> None:
        """Release everything."""
        self._attach(None)
        os.close(self._freed)
        self._forget_putname()

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

    def _attach(self, program: int | None) -> None:
        link, self._link = self._link, -1
        if link >= 0:
            os.close(link)
        if program is not None:
            self._link = bpf_syscall.attach_raw_tracepoint(program, _TRACEPOINT if program == self._freed else "")

    def _seen(self) -> set[tuple[str, int]]:
        """Make calls that fail, because their paths don't exist, and return the paths that were copied."""
        numbers = {event: number for number, event in x86_64.NATIVE.items() if event in _CALLS}
        return {(event, at) for event, number in numbers.items() for at in self._copied(number, _CALLS[event])}

    def _copied(self, number: int, count: int) -> set[int]:
        paths = [f"/{secrets.token_hex(16)}/{at}".encode() for at in range(count)]
        watched, copied = self._maps["watched"], self._maps["copied_names"]
        thread, key = _U32.pack(threading.get_native_id()), _U32.pack(number)
        before = bpf_syscall.lookup(watched, key, 1)
        bpf_syscall.update(watched, key, PATHS_ONLY)
        _libc.syscall(ctypes.c_long(number), *map(ctypes.c_char_p, paths + [None] * (6 - count)))
        bpf_syscall.update(watched, key, before)
        with suppress(OSError):  # nothing was copied
            copies = bpf_syscall.lookup(copied, thread, self._copy_bytes)
            bpf_syscall.delete(copied, thread)
            return {at for at, path in enumerate(paths) if path + b"\0" in copies}
        return set()


SOURCE = Path(__file__).with_name("lanner.bpf.c")
_URING_SOURCE = Path(__file__).with_name("io_uring.bpf.c")
_COMPILER = Path(__file__).with_name("compile.py")
_MADE_BY = (_COMPILER, *(Path(module.__file__ or "") for module in (btf, offsets)))
"""The Python modules that affect how source and kernel become a program."""
_PROBES = {"on_exec": "sched_process_exec", "on_fork": "sched_process_fork", "on_exit": "sched_process_exit"}
_ENTRY = "on_sys_exit"
_FREED, _PUTNAME = "on_freed", "on_putname"
_CONNECTING, _TCP_STATE = "on_connecting", "inet_sock_set_state"
_STEPS = ("tell_state", "judge_call", "judge_path", "tell_call", "send_call")
"""Programs that the entry point tail-calls, by enum step."""
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's BCC belongs to Debian's Python."""
_COMPILE_SECONDS = 300
_BCC_VERSION = Path("/usr/lib/python3/dist-packages/bcc/version.py")
_PAGE = 4096
_INSTRUCTION, _CALL, _TO_KERNEL_FUNCTION = 8, 0x85, 2
"""Size of an instruction, its code for a call, and BPF_PSEUDO_KFUNC_CALL."""
_ARRAY = 2
"""BPF_MAP_TYPE_ARRAY."""
_REMEDY = (
    "apt-get install python3-bpfcc linux-headers-amd64; or run `lanner collector build-cache FILE` on a host with the "
    "same kernel that has them, and name the file here as collector.bpf_cache"
)
_TOO_SLOW = (
    "start it again when this host is less busy; or run `lanner collector build-cache FILE` on a faster host with the "
    "same kernel, and name the file here as collector.bpf_cache"
)


@dataclass(frozen=True, slots=True)
class RingSizes:
    """Sizes of the two rings in bytes, each a power of two."""

    events: int = 16 << 20
    lifecycle: int = 4 << 20


class LoadedProgram:
    """The loaded program: maps by name, attached until closed."""

    def __init__(self, maps: dict[str, int], copies: PathCopies, connecting: int) -> None:
        """Take ownership of maps, of the programs that copy paths, and of the one that sees TCP connect."""
        self.maps = maps
        self.path_copies = copies
        self._probes: list[int] = []
        self._connecting, self._connections = connecting, -1

    def attach(self, loaded: dict[str, int]) -> None:
        """Attach every probe, lifecycle first, so that no event comes from an unknown process."""
        for number, name in enumerate(_STEPS):
            bpf_syscall.update(self.maps["steps"], struct.pack("<I", number), struct.pack("<I", loaded[name]))
        for name in ("on_exit", "on_fork", "on_exec"):
            self._probes.append(bpf_syscall.attach_raw_tracepoint(loaded[name], _PROBES[name]))
        self._probes.append(bpf_syscall.attach_raw_tracepoint(loaded[_ENTRY], ""))
        for name, tracepoint in TRACEPOINTS.items():
            if name in loaded:
                self._probes.append(bpf_syscall.attach_raw_tracepoint(loaded[name], tracepoint))

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
        for descriptor in self.maps.values():
            os.close(descriptor)
        self.maps = {}


def compiled(cache: Path, given: Sequence[Path] = ()) -> dict[str, Any]:
    """Return bytecode and map layouts: from the cache if they fit this host, else compile and cache them.

    Args:
        cache: folder for programs compiled here.
        given: files, or folders of them, compiled on a host of the same kind.

    Raises:
        EnvironmentUnsupported: none fits this host, and it can't compile.
    """
    check_rights()
    build_target = _made_for()
    found, unfit = find([cache / build_target.file_name, *given], build_target)
    if found is not None:
        return found[1]
    try:
        result = _compile_for_this_kernel()
    except EnvironmentUnsupported as error:
        lacking = f"{error.reason}; and no program compiled elsewhere fits: {'; '.join(unfit) or 'there is none'}"
        raise EnvironmentUnsupported(lacking, error.remedy) from error
    with suppress(OSError):
        write(cache / build_target.file_name, result, build_target)
    return result


def find_compiled(cache: Path, given: Sequence[Path]) -> tuple[Path | None, list[str]]:
    """Return the cached program that a start would use, and why others don't fit; raises EnvironmentUnsupported."""
    build_target = _made_for()
    found, unfit = find([cache / build_target.file_name, *given], build_target)
    return None if found is None else found[0], unfit


def build_cache(target: Path) -> tuple[Path, str]:
    """Compile for hosts like this one, and write the result.

    Args:
        target: a file, or an existing folder.

    Returns:
        The file, and the kernel that it is for.

    Raises:
        EnvironmentUnsupported: this host can't compile or load it.
        OSError: it can't be written.
    """
    check_rights()
    build_target = _made_for()
    result = _compile_for_this_kernel()
    path = target / build_target.file_name if target.is_dir() else target
    write(path, result, build_target)
    return path, build_target.kernel


def _size_flags() -> list[str]:
    # The rings get their sizes at load time: one compilation serves all settings.
    return [
        f"-DEVENT_PAGES={RingSizes().events // _PAGE}",
        f"-DLIFECYCLE_PAGES={RingSizes().lifecycle // _PAGE}",
        "-w",
        f"-DMASK_WORDS={MASK_BITS // 64}",
        f"-DMAX_PREFIX={MAX_PREFIX}",
        f"-DCLASSES={CLASSES}",
        f"-DMAX_ROWS={MAX_ROWS}",
        f"-DMAX_TESTS={MAX_TESTS}",
        f"-DMAX_VALUES={MAX_VALUES}",
        f"-DREPEAT_SLOTS={REPEAT_SLOTS}",
        f"-DREPEAT_BYTES={REPEAT_BYTES}",
    ]


def _made_for() -> BuildTarget:
    parts = (_source(), *(path.read_text() for path in _MADE_BY), *_size_flags())
    return BuildTarget(
        kernel=f"{platform.release()} {platform.version()}",
        program=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        offsets=fingerprint(),
        bcc=_bcc_version(),
    )


def _source() -> str:
    # One text: BCC only makes programs of functions in its main file.
    return SOURCE.read_text() + _URING_SOURCE.read_text()


def _bcc_version() -> str | None:
    """Read the version from BCC's file, because importing BCC takes longer than a whole start."""
    with suppress(OSError):
        if found := re.search(r"__version__ = '([^']+)'", _BCC_VERSION.read_text()):
            return found[1]
    return None


def load(compilation: dict[str, Any], sizes: RingSizes) -> tuple[LoadedProgram, dict[str, int]]:
    """Create the maps and load the probes, not attached yet; raises EnvironmentUnsupported if the kernel refuses."""
    slots = REPEAT_SLOTS * bpf_syscall.possible_cpus()
    entries = {"events": sizes.events, "lifecycle": sizes.lifecycle, "repeats": slots, "repeated_records": slots}
    maps: dict[str, int] = {}
    loaded: dict[str, int] = {}
    try:
        for name, layout in compilation["maps"].items():
            maps[name] = bpf_syscall.create_map(
                name,
                kind=layout["map_type"],
                key_size=layout["key_size"],
                value_size=layout["value_size"],
                entries=entries.get(name, layout["max_entries"]),
                flags=layout["map_flags"],
            )
        for name, program in compilation["programs"].items():
            code = bytearray(b64decode(program["code"]))
            for at, map_name in program["maps"]:
                struct.pack_into("<i", code, at + 4, maps[map_name])
            _call_cast(code, compilation["cast"])
            if name == _PUTNAME:
                # Some systems refuse all programs at functions.
                with suppress(OSError):
                    loaded[name] = bpf_syscall.load_program(name, bytes(code), compilation["putname"], at_entry=True)
                continue
            typed = compilation["sys_exit"] if name == _ENTRY or name in _STEPS else 0
            loaded[name] = bpf_syscall.load_program(name, bytes(code), typed)
    except OSError as error:
        for descriptor in (*maps.values(), *loaded.values()):
            os.close(descriptor)
        raise EnvironmentUnsupported(*_refusal(error)) from error
    freed, putname = loaded.pop(_FREED), loaded.pop(_PUTNAME, None)
    copies = PathCopies(maps, compilation["maps"]["copied_names"]["value_size"], freed, putname)
    return LoadedProgram(maps, copies, loaded.pop(_CONNECTING)), loaded


def _call_cast(code: bytearray, function: int) -> None:
    """Make the calls that stand for bpf_rdonly_cast call it, by its BTF type id."""
    for at in range(0, len(code), _INSTRUCTION):
        if code[at] == _CALL and struct.unpack_from("<i", code, at + 4)[0] == CAST_CALL:
            struct.pack_into("<BBhi", code, at, _CALL, _TO_KERNEL_FUNCTION << 4, 0, function)


def check_rights() -> None:
    """Check whether this user may load BPF programs at all. Raises EnvironmentUnsupported."""
    try:
        os.close(bpf_syscall.create_map("rights", kind=_ARRAY, key_size=4, value_size=4, entries=1, flags=0))
    except OSError as error:
        raise EnvironmentUnsupported(*_refusal(error)) from error


def _refusal(error: OSError) -> tuple[str, str]:
    if error.errno == errno.EPERM:
        return (
            "the kernel does not let this user load BPF programs",
            "run it as root: sudo lanner run"
            if os.geteuid()
            else "give this container CAP_SYS_ADMIN and CAP_SYS_PTRACE",
        )
    reason = f"the kernel refuses the BPF program: {error.strerror}"
    return reason, "see `lanner doctor`; report this kernel's version and the message"


def _compile_for_this_kernel() -> dict[str, Any]:
    """Compile what this kernel's verifier accepts: without typed reads if it refuses the program with them."""
    layout = definitions()
    while True:
        result = _compile(layout)
        try:
            program, loaded = load(result, RingSizes())
        except EnvironmentUnsupported:
            if CAST not in layout:
                raise
            layout = without_types(layout)
            continue
        for descriptor in loaded.values():
            os.close(descriptor)
        program.close()
        return result


def _compile(layout: dict[str, int]) -> dict[str, Any]:
    flags = [f"-D{name}={value}" for name, value in sorted(layout.items())] + _size_flags()
    with tempfile.TemporaryDirectory(prefix="lanner-bpf-") as folder:
        output, source = Path(folder) / "out.json", Path(folder) / SOURCE.name
        source.write_text(_source())
        functions = [*_PROBES, _FREED, _CONNECTING, _ENTRY, *_STEPS, *(TRACEPOINTS if "URING" in layout else ())]
        functions += [_PUTNAME] if PUTNAME in layout else []
        command = [SYSTEM_PYTHON, "-I", str(_COMPILER), str(source), str(output), *functions, "--", *flags]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            reason = f"the BPF program could not be compiled within {_COMPILE_SECONDS} seconds"
            raise EnvironmentUnsupported(reason, _TOO_SLOW) from None
        except OSError as error:
            raise EnvironmentUnsupported(f"the BPF program could not be compiled: {error}", _REMEDY) from error
        if done.returncode != 0:
            message = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise EnvironmentUnsupported(f"the BPF program could not be compiled: {message[0]}", _REMEDY)
        result: dict[str, Any] = json.loads(output.read_text())
        return {**result, "sys_exit": layout[SYS_EXIT], "cast": layout.get(CAST, 0), "putname": layout.get(PUTNAME, 0)}
