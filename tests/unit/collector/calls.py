"""Invented system calls; a test states only the facts that it is about."""

from collections.abc import Sequence

from collector.events.system_calls import BY_EVENT
from collector.records.types import File, ProcessIdentity, Socket, Syscall

WHO = ProcessIdentity(time=1000, pid=10, tid=11, start_time=5, exec_generation=1, uid=0, cgroup_id=1)


def file(path: str | None = "/etc/passwd", mode: int = 0o100644, **facts: object) -> File:
    """Return an ordinary open file."""
    values: dict[str, object] = {
        "dev": 0x00800001,
        "ino": 1234,
        "magic": 0xEF53,
        "is_pseudo": False,
        "is_created": False,
        "is_upper_layer": False,
        "is_lower_layer": False,
    }
    return File(mode=mode, path=path, **{**values, **facts})  # type: ignore[arg-type]


def sock(family: int = 2, **facts: object) -> Socket:
    """Return an unconnected TCP socket."""
    values: dict[str, object] = {
        "type": 1,
        "protocol": 6,
        "state": 7,
        "local_ip": "0.0.0.0" if family == 2 else "::" if family == 10 else "",
        "remote_ip": "0.0.0.0" if family == 2 else "::" if family == 10 else "",
        "local_port": 0,
        "remote_port": 0,
        "unix_path": "",
    }
    return Socket(family=family, **{**values, **facts})  # type: ignore[arg-type]


def call(event: str, arguments: Sequence[int] = (), **facts: object) -> Syscall:
    """Return a call that succeeded with 0; registers that aren't named hold 0."""
    values: dict[str, object] = {
        "who": WHO,
        "cpu": 0,
        "vtid": 11,
        "is_compat": False,
        "result": 0,
        "fd": None,
        "file": None,
        "socket": None,
        "path1": None,
        "path2": None,
        "directory1": None,
        "directory2": None,
        "blob1": b"",
        "blob2": b"",
    }
    registers = tuple(value & (1 << 64) - 1 for value in (*arguments, *[0] * 6)[:6])
    return Syscall(event=BY_EVENT[event].number, arguments=registers, **{**values, **facts})  # type: ignore[arg-type]
