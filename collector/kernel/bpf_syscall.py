"""The commands of bpf(2) that loading a program needs, without a library.

BCC could do this too, but keeps LLVM in memory. Layout of the arguments: include/uapi/linux/bpf.h.
"""

import ctypes
import errno
import os
import platform
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from collector.kernel.btf import describe_functions

_NR_BPF, _NR_MEMBARRIER = (280, 283) if platform.machine() == "aarch64" else (321, 324)
_MEMBARRIER_GLOBAL = 1
_LONG_AGO_SECONDS = 0.1
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _RAW_TRACEPOINT_OPEN, _BTF_LOAD = 0, 1, 2, 3, 5, 17, 18
_GET_INFO = 15
_INSTRUCTION, _FUNCTION_INFO = 8, 8
"""Sizes of an instruction and of a struct bpf_func_info."""
_ATTRIBUTE_SIZE = 128
_RAW_TRACEPOINT, _TRACING = 17, 26
_TRACE_RAW_TP = 23
ENTRY, RETURN = 24, 25
"""Where a program is attached to a function of the kernel: BPF_TRACE_FENTRY, BPF_TRACE_FEXIT."""
_RECURSION_MISSES = 208
"""Where struct bpf_prog_info has recursion_misses."""
_LICENSE = b"Dual BSD/GPL"
_LOG_SIZE = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def create_map(name: str, *, kind: int, key_size: int, value_size: int, entries: int, flags: int) -> int:
    """Create a map and return its descriptor; raises OSError."""
    return _bpf(
        _MAP_CREATE, struct.pack("<7I16s", kind, key_size, value_size, entries, flags, 0, 0, name[:15].encode())
    )


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Store a value; raises OSError."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    _bpf(_MAP_UPDATE, struct.pack("<IxxxxQQQ", descriptor, _address(key_buffer), _address(value_buffer), 0))


def lookup(descriptor: int, key: bytes, value_size: int) -> bytes:
    """Return a value; a per-CPU map returns one for each possible CPU. Raises OSError."""
    key_buffer, value_buffer = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value_size)
    _bpf(_MAP_LOOKUP, struct.pack("<IxxxxQQQ", descriptor, _address(key_buffer), _address(value_buffer), 0))
    return value_buffer.raw


def delete(descriptor: int, key: bytes) -> None:
    """Remove a key; raises OSError if it isn't there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    _bpf(_MAP_DELETE, struct.pack("<IxxxxQQQ", descriptor, _address(key_buffer), 0, 0))


def load_program(
    name: str, code: bytes, typed: int = 0, *, place: int = 0, called: Mapping[str, int] = MappingProxyType({})
) -> int:
    """Load a program for a raw tracepoint or for a function of the kernel, and return its descriptor.

    Args:
        name: name shown by tools.
        code: the instructions.
        typed: BTF type id of the function, or of the tracepoint for a program that dereferences its arguments without a
            helper; 0 for one that doesn't.
        place: ENTRY or RETURN, for a function; it is attached as a typed tracepoint's.
        called: its functions that are verified once, whatever calls them, and where they begin in the code.

    Raises:
        OSError: the kernel refused; includes the end of the verifier's log.
    """
    attached_as = place or (_TRACE_RAW_TP if typed else 0)
    with _functions({name: 0, **called} if called else {}) as functions:
        try:
            return _load(name, code, attached_as, typed, functions=functions)
        except OSError as error:
            # The verifier refuses with others, EACCES among them.
            if error.errno == errno.EPERM:
                raise
            log = ctypes.create_string_buffer(_LOG_SIZE)
            try:
                return _load(name, code, attached_as, typed, functions=functions, log=log)
            except OSError:
                tail = log.value.decode(errors="replace").strip().splitlines()[-8:]
                raise OSError(error.errno, f"the kernel refused {name}: " + " | ".join(tail)) from error


def attach_raw_tracepoint(program: int, tracepoint: str) -> int:
    """Attach a program and return a descriptor; closing it detaches at once. Raises OSError.

    The tracepoint's name is empty for a program loaded with its type.
    """
    name = ctypes.create_string_buffer(tracepoint.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("<QI", _address(name) if tracepoint else 0, program))


def recursion_misses(program: int) -> int:
    """Return how many runs of a program the kernel has skipped; raises OSError.

    It skips a run on a processor where the same program has begun and not ended: where it was interrupted or, from
    Linux 7.0 on, preempted.

    Source: struct bpf_prog_info in include/uapi/linux/bpf.h, and __bpf_trace_run() in kernel/trace/bpf_trace.c.
    """
    info = ctypes.create_string_buffer(_RECURSION_MISSES + 8)
    _bpf(_GET_INFO, struct.pack("<IIQ", program, len(info), _address(info)))
    found: int = struct.unpack_from("<Q", info, _RECURSION_MISSES)[0]
    return found


def wait_for_running_programs() -> None:
    """Wait until every BPF program run that had already begun has ended.

    A global membarrier waits for an RCU grace period, and a program runs within one (kernel/sched/membarrier.c).
    """
    if _libc.syscall(_NR_MEMBARRIER, _MEMBARRIER_GLOBAL, 0, 0) != 0:
        # Kernels with isolated CPUs refuse it; a run takes microseconds.
        time.sleep(_LONG_AGO_SECONDS)


def possible_cpus() -> int:
    """Return the number of CPUs for which per-CPU maps have a value."""
    last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


@contextmanager
def _functions(at: Mapping[str, int]) -> Iterator[tuple[int, bytes]]:
    """Describe functions to the kernel: yield a descriptor of their types, and a struct bpf_func_info for each."""
    if not at:
        yield 0, b""
        return
    blob, types = describe_functions(tuple(at))
    buffer = ctypes.create_string_buffer(blob, len(blob))
    descriptor = _bpf(_BTF_LOAD, struct.pack("<QQI", _address(buffer), 0, len(blob)))
    try:
        rows = zip(at.values(), types, strict=True)
        yield descriptor, b"".join(struct.pack("<II", begin // _INSTRUCTION, of_type) for begin, of_type in rows)
    finally:
        os.close(descriptor)


def _load(
    name: str,
    code: bytes,
    attached_as: int,
    typed: int,
    *,
    functions: tuple[int, bytes],
    log: "ctypes.Array[ctypes.c_char] | None" = None,
) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    license_text = ctypes.create_string_buffer(_LICENSE)
    kind = _TRACING if typed else _RAW_TRACEPOINT
    types, rows = functions
    table = ctypes.create_string_buffer(rows, len(rows))
    program = struct.pack("<IIQQ", kind, len(code) // _INSTRUCTION, _address(instructions), _address(license_text))
    level, size, address = (0, 0, 0) if log is None else (1, len(log), _address(log))
    head = program + struct.pack("<IIQII", level, size, address, 0, 0)
    described = struct.pack("<IIQI", types, _FUNCTION_INFO, _address(table), len(rows) // _FUNCTION_INFO)
    tail = struct.pack("<II", 0, attached_as) + described + struct.pack("<16xI", typed)
    return _bpf(_PROG_LOAD, head + name[:15].encode().ljust(16, b"\0") + tail)


def _address(buffer: "ctypes.Array[ctypes.c_char]") -> int:
    return ctypes.addressof(buffer)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTE_SIZE)
    result: int = _libc.syscall(_NR_BPF, command, buffer, _ATTRIBUTE_SIZE)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
