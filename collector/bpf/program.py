"""Compiles, keeps and loads the BPF program; what comes out is a set of maps and four attached probes.

The bytecode is kept in a cache by everything that it depends on, so that a second start takes milliseconds.
"""

import contextlib
import hashlib
import json
import os
import platform
import struct
import subprocess
import tempfile
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.errors import EnvironmentLacks
from collector.interest_layout import MASK_BITS, MAX_ROWS, MAX_TESTS
from collector.kernel import bpf_syscall
from collector.kernel.offsets import definitions
from schemas.interest import CLASSES, MAX_PREFIX, MAX_VALUES

SOURCE = Path(__file__).with_name("lanner.bpf.c")
_COMPILER = Path(__file__).with_name("compile.py")
_PROBES = {
    "on_sys_exit": "sys_exit",
    "on_exec": "sched_process_exec",
    "on_fork": "sched_process_fork",
    "on_exit": "sched_process_exit",
}
_SYSTEM_PYTHON = "/usr/bin/python3"
_COMPILE_SECONDS = 120
_PAGE = 4096
_ARRAY = 2
"""BPF_MAP_TYPE_ARRAY."""
_CONTAINER_PACKAGES = "apt-get install python3-bpfcc linux-headers-amd64, then `lanner doctor`"


@dataclass(frozen=True, slots=True)
class RingSizes:
    """Sizes of the two rings in bytes, each a power of two."""

    events: int = 16 << 20
    lifecycle: int = 4 << 20


class Program:
    """The loaded program: maps by name, attached until closed."""

    def __init__(self, maps: dict[str, int], probes: list[int]) -> None:
        """Take descriptors that are this object's to close."""
        self.maps = maps
        self._probes = probes

    def attach(self, loaded: dict[str, int]) -> None:
        """Attach every probe; lifecycle first, so that no event comes from a process that could not be known."""
        for name in ("on_exit", "on_fork", "on_exec", "on_sys_exit"):
            self._probes.append(bpf_syscall.attach_raw_tracepoint(loaded[name], _PROBES[name]))

    def detach(self) -> None:
        """Stop the probes; what is in the rings stays readable."""
        while self._probes:
            os.close(self._probes.pop())

    def close(self) -> None:
        """Give everything back to the kernel."""
        self.detach()
        for descriptor in self.maps.values():
            os.close(descriptor)
        self.maps = {}


def compiled(sizes: RingSizes, cache: Path) -> dict[str, Any]:
    """Give bytecode and map layouts, from the cache where they are there; raises EnvironmentLacks."""
    _check_rights()
    flags = [f"-D{name}={value}" for name, value in sorted(definitions().items())]
    flags += [f"-DEVENT_PAGES={sizes.events // _PAGE}", f"-DLIFECYCLE_PAGES={sizes.lifecycle // _PAGE}", "-w"]
    flags += [f"-DMASK_WORDS={MASK_BITS // 64}", f"-DMAX_PREFIX={MAX_PREFIX}", f"-DCLASSES={CLASSES}"]
    flags += [f"-DMAX_ROWS={MAX_ROWS}", f"-DMAX_TESTS={MAX_TESTS}", f"-DMAX_VALUES={MAX_VALUES}"]
    text = "\n".join([SOURCE.read_text(), _COMPILER.read_text(), platform.release(), platform.version(), *flags])
    kept = cache / f"bpf-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        return _trusted(kept)
    result = _compile(flags)
    with contextlib.suppress(OSError):
        _keep(kept, result)
    return result


def load(compilation: dict[str, Any]) -> tuple[Program, dict[str, int]]:
    """Create the maps and load the probes, not attached yet; raises EnvironmentLacks where the kernel refuses."""
    maps: dict[str, int] = {}
    loaded: dict[str, int] = {}
    try:
        for name, layout in compilation["maps"].items():
            maps[name] = bpf_syscall.create_map(
                name,
                kind=layout["map_type"],
                key_size=layout["key_size"],
                value_size=layout["value_size"],
                entries=layout["max_entries"],
                flags=layout["map_flags"],
            )
        for name, program in compilation["programs"].items():
            code = bytearray(b64decode(program["code"]))
            for at, map_name in program["maps"]:
                struct.pack_into("<i", code, at + 4, maps[map_name])
            loaded[name] = bpf_syscall.load_raw_tracepoint(name, bytes(code))
    except OSError as error:
        for descriptor in (*maps.values(), *loaded.values()):
            os.close(descriptor)
        raise EnvironmentLacks(*_refusal(error)) from error
    return Program(maps, []), loaded


def _check_rights() -> None:
    """Find out before a compilation whether the kernel takes anything from us at all."""
    try:
        os.close(bpf_syscall.create_map("rights", kind=_ARRAY, key_size=4, value_size=4, entries=1, flags=0))
    except OSError as error:
        raise EnvironmentLacks(*_refusal(error)) from error


def _refusal(error: OSError) -> tuple[str, str]:
    if isinstance(error, PermissionError):
        return (
            "the kernel does not let this user load BPF programs",
            "run as root, or give the container CAP_SYS_ADMIN; then `lanner doctor`",
        )
    reason = f"the kernel does not take the BPF program: {error.strerror}"
    return reason, "see `lanner doctor`; report this kernel's version and the message"


def _compile(flags: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lanner-bpf-") as folder:
        output = Path(folder) / "out.json"
        command = [_SYSTEM_PYTHON, "-I", str(_COMPILER), str(SOURCE), str(output), *_PROBES, "--", *flags]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvironmentLacks(f"the BPF program could not be compiled: {error}", _CONTAINER_PACKAGES) from error
        if done.returncode != 0:
            message = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise EnvironmentLacks(f"the BPF program could not be compiled: {message[0]}", _CONTAINER_PACKAGES)
        result: dict[str, Any] = json.loads(output.read_text())
        return result


def _trusted(kept: Path) -> dict[str, Any]:
    """Read a kept compilation, only where nobody but root or ourselves could have written it."""
    with kept.open(encoding="ascii") as file:
        # Asked of the open file: behind a name there may be another one a moment later.
        facts = os.fstat(file.fileno())
        if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o022:
            raise ValueError(kept)
        result: dict[str, Any] = json.load(file)
    return result


def _keep(kept: Path, result: dict[str, Any]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=kept.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump(result, file)
    Path(name).replace(kept)
