"""Compiles the BPF program with BCC and writes bytecode and map layouts to a file.

It runs as a child process under the system's Python, where Debian installs BCC: so the collector itself never loads
LLVM (170 MiB), needs no BCC in its own environment, and can cache the result. Uses nothing but BCC and the standard
library. Usage: python3 -I compile.py SOURCE OUTPUT FUNCTION... -- CFLAG...
"""

import ctypes
import json
import os
import struct
import sys
from base64 import b64encode
from pathlib import Path

_LOAD_MAP = 0x18
_MAP_FD = 1


def _maps(bpf: object, lib: ctypes.CDLL) -> dict[int, tuple[str, dict[str, int]]]:
    """Return name and layout of each map by its descriptor; /proc has the size where BCC's own view is zero."""
    lib.bpf_table_name.restype = ctypes.c_char_p
    lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_ulonglong]
    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]
    found = {}
    for index in range(lib.bpf_num_tables(bpf.module)):  # type: ignore[attr-defined]
        name = lib.bpf_table_name(bpf.module, index).decode()  # type: ignore[attr-defined]
        descriptor = lib.bpf_table_fd_id(bpf.module, index)  # type: ignore[attr-defined]
        rows = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        facts = dict(row.split(":", 1) for row in rows if ":" in row)
        keys = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
        found[descriptor] = (name, {key: int(facts[key], 0) for key in keys})
    return found


def _references(code: bytes, maps: dict[int, tuple[str, dict[str, int]]]) -> list[tuple[int, str]]:
    """Find the instructions that refer to a map by descriptor, so that a loader can insert its own."""
    found = []
    at = 0
    while at < len(code):
        if code[at] == _LOAD_MAP:
            if code[at + 1] >> 4 == _MAP_FD:
                found.append((at, maps[struct.unpack_from("<i", code, at + 4)[0]][0]))
            at += 8
        at += 8
    return found


def main(arguments: list[str]) -> None:
    """Compile; any failure ends in a message on stderr and exit code 1."""
    split = arguments.index("--")
    source, output, *functions = arguments[:split]
    try:
        from bcc import BPF, __version__, lib  # noqa: PLC0415 (its absence is a result)
    except ImportError as error:
        sys.exit(f"BCC is not installed for {sys.executable}: {error}")
    try:
        bpf = BPF(text=Path(source).read_text(), cflags=arguments[split + 1 :])
    except Exception as error:  # noqa: BLE001 (BCC raises bare Exception)
        sys.exit(f"the BPF program did not compile: {error}")
    maps = _maps(bpf, lib)
    programs = {}
    for function in functions:
        code = bpf.dump_func(function.encode())
        programs[function] = {"code": b64encode(code).decode(), "maps": _references(code, maps)}
    result = {"bcc": __version__, "maps": dict(maps.values()), "programs": programs}
    Path(output).write_text(json.dumps(result))
    # BCC's clean-up takes a second and isn't needed.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
