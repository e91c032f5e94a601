"""Parameters of events as rules see them: a text and a number each (libsinsp event.cpp, get_param_as_str)."""

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from errno import errorcode
from functools import lru_cache
from signal import Signals
from socket import AF_INET6, inet_ntop

from collector.events.texts import Value, absolute
from collector.records.decode import ip_text
from foundation.quantities import date_and_time
from foundation.text import printed
from lanner.captures.format.blocks import text_of
from lanner.captures.format.events import SIGNED, SYSTEM_CALLS, CapturedEvent
from lanner.captures.state.accounts import UNKNOWN_NAME, CaptureAccounts
from lanner.captures.state.descriptors import End
from lanner.captures.state.threads import CapturedThread, ThreadTable
from processor.fields.event import number_text as formatted
from schemas.catalog.fields import ParamSpec
from schemas.catalog.flags import FLAG_TABLES, number_text

AT_FDCWD = -100
UNKNOWN_DIRECTORY = "<UNKNOWN>"
"""Falco's prefix of a path whose directory is unknown."""
_UNIX, _INET, _INET6 = 1, 2, 10
_INVALID = {_INET: "INVALID IPv4", _INET6: "INVALID IPv6", _UNIX: "INVALID PATH"}
_UNIX_PATH = 108
"""Bytes of a unix socket's path in the kernel."""
_MAPPED = bytes(10) + b"\xff\xff"
"""How addresses of IPv6 begin that stand for addresses of IPv4."""
_MISSING: Value = (None, 0)
_PATH_SIZE = 1024
_TOO_LONG = "/DIR_TOO_LONG/FILENAME_TOO_LONG"
_INT64_MAX = (1 << 63) - 1
_SIGNALS = frozenset(each for each in Signals if each < Signals.SIGRTMIN)
_NO_TIME = (1 << 64) - 1
_DYNAMIC = {
    "sockopt_dynamic_param": ("BYTEBUF", "ERRNO", "UINT32", "UINT64", "RELTIME"),
    "ptrace_dynamic_param": ("UINT64", "SIGTYPE"),
    "bpf_dynamic_param": ("FD", "ERRNO"),
    "keyctl_dynamic_param": ("INT64", "CHARBUF"),
}
_DIRECTORY = re.compile(r"DIRFD_PARAM\((\d+)\)")
_PLAIN = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "PORT", "PID32"})
_EMPTY: dict[str, Value] = {
    **dict.fromkeys(("BYTEBUF", "SOCKTUPLE", "FDLIST", "CHARBUFARRAY", "CHARBUF_PAIR_ARRAY", "DYN"), ("NULL", 0)),
    **dict.fromkeys(("CHARBUF", "FSPATH", "FSRELPATH"), (UNKNOWN_NAME, 0)),
}
"""Falco's values of empty parameters, by type; numbers are missing."""


class ParameterReader:
    """Turns encoded parameters into values, with the names of threads, descriptors, users and groups."""

    def __init__(self, threads: ThreadTable, accounts: CaptureAccounts) -> None:
        self._threads = threads
        self._accounts = accounts
        self._resolved: dict[str, Callable[[int, CapturedThread | None], str]] = {
            "FD": self._descriptor,
            "FD32": self._descriptor,
            "PID": self._thread,
            "UID": self._user,
            "GID": self._group,
        }

    def values(self, event: CapturedEvent, thread: CapturedThread | None) -> list[Value]:
        """Return the text and the number of each parameter."""
        params = event.version.params
        return [self._value(event, param, data, thread) for param, data in zip(params, event.params, strict=False)]

    def _value(self, event: CapturedEvent, param: ParamSpec, data: bytes, thread: CapturedThread | None) -> Value:
        kind = param.type
        if not data:
            return _EMPTY.get(kind, _MISSING)
        if kind == "DYN":
            return self._dynamic(param, data, thread)
        if kind in {"FSPATH", "FSRELPATH"}:
            return self.path(event, param, data, thread) or "", 0
        return self._of_type(kind, param, data, thread)

    def _dynamic(self, param: ParamSpec, data: bytes, thread: CapturedThread | None) -> Value:
        kinds = _DYNAMIC.get(param.info, ())
        if data[0] >= len(kinds):
            return "INVALID DYNAMIC PARAMETER", 0
        if len(data) == 1:
            return "NULL", 0
        return self._of_type(kinds[data[0]], param, data[1:], thread)

    def _of_type(self, kind: str, param: ParamSpec, data: bytes, thread: CapturedThread | None) -> Value:
        if kind == "CHARBUF":
            return text_of(data), 0
        if kind == "BYTEBUF":
            return printed(data), 0
        if kind == "SOCKADDR":
            return address_text(data), 0
        if kind == "SOCKTUPLE":
            return tuple_text(data), 0
        if kind == "FDLIST":
            return self._descriptors(data, thread), 0
        number = int.from_bytes(data[:8], "little", signed=kind in SIGNED)
        resolve = self._resolved.get(kind)
        if resolve is not None:
            if kind in {"UID", "GID"} and number == 0xFFFFFFFF:
                return "<NONE>", -1
            return resolve(number, thread) or str(number), min(number, _INT64_MAX)
        if kind == "ABSTIME":
            return date_and_time(number), min(number, _INT64_MAX)
        if kind in _PLAIN:
            return self._plain(kind, param, number)
        if kind == "SIGSET":
            return _named(kind, param.info, number), _signed(number)
        return _named(kind, param.info, number) or formatted(param, _signed(number)), _signed(number)

    @staticmethod
    def _plain(kind: str, param: ParamSpec, number: int) -> Value:
        """Return a number without a name."""
        if param.type == kind:
            return formatted(param, number), _signed(number)
        # What a parameter of several types is printed as depends on the type of its value.
        shown = formatted(replace(param, type=kind), number)
        return shown, _signed(number if param.format == "HEX" else int(shown))

    def path(self, event: CapturedEvent, param: ParamSpec, data: bytes, thread: CapturedThread | None) -> str | None:
        """Return the full path of a parameter, or what the capture has if its directory is unknown."""
        raw = text_of(data)
        if not raw or raw.startswith("/") or raw == UNKNOWN_NAME or thread is None:
            return raw
        directory = self.directory(event, param, thread)
        # Where the directory is unknown, the path is only cleaned; nothing may be left of it.
        return absolute_path(directory or "", raw) or raw

    def directory(self, event: CapturedEvent, param: ParamSpec, thread: CapturedThread) -> str | None:
        """Return the directory that a relative path starts from; None if it is unknown."""
        of = _DIRECTORY.fullmatch(param.info)
        number = AT_FDCWD
        if of is not None and int(of[1]) < len(event.params) and event.version.params[int(of[1])].type == "FD":
            data = event.params[int(of[1])]
            number = int.from_bytes(data, "little", signed=True) if data else AT_FDCWD
        if number == AT_FDCWD:
            return self._threads.main(thread).entry.context.cwd
        descriptor = self._threads.descriptor(thread, number)
        return None if descriptor is None else descriptor.name

    def _descriptor(self, number: int, thread: CapturedThread | None) -> str:
        if number == AT_FDCWD:
            return "AT_FDCWD"
        if number < 0:
            return errorcode.get(-number, "")
        descriptor = None if thread is None else self._threads.descriptor(thread, number)
        return "" if descriptor is None else descriptor.label

    def _thread(self, tid: int, thread: CapturedThread | None) -> str:
        del thread
        found = self._threads.find(tid)
        return "" if found is None else found.entry.program.name or ""

    def _user(self, uid: int, thread: CapturedThread | None) -> str:
        return self._accounts.user_name(uid, None if thread is None else thread.entry.container) or UNKNOWN_NAME

    def _group(self, gid: int, thread: CapturedThread | None) -> str:
        return self._accounts.group_name(gid, None if thread is None else thread.entry.container) or UNKNOWN_NAME

    def _descriptors(self, data: bytes, thread: CapturedThread | None) -> str:
        count = int.from_bytes(data[:2], "little")
        shown: list[str] = []
        for number, flags in struct.iter_unpack("<qH", data[2 : 2 + 10 * ((len(data) - 2) // 10)]):
            if len(shown) == count:
                break
            found = None if thread is None else self._threads.descriptor(thread, number)
            shown.append(f"{number}:{'?' if found is None else found.label[1]}{flags:x}")
        return " ".join(shown)


def _signed(number: int) -> int:
    """Return a number of 64 bits as the signed one of batches."""
    return number - (number > _INT64_MAX) * (1 << 64)


@lru_cache(maxsize=4096)
def _named(kind: str, table: str, number: int) -> str:
    """Return the names of a number; "" if it has none."""
    if kind == "ERRNO":
        return errorcode.get(-number, "") if number < 0 else ""
    if kind == "SIGTYPE":
        return Signals(number).name if number in _SIGNALS else ""
    if kind == "SIGSET":
        return " ".join(Signals(each).name for each in range(1, 33) if number >> each - 1 & 1 and each in _SIGNALS)
    if kind == "SYSCALLID":
        return SYSTEM_CALLS[number] if number < len(SYSTEM_CALLS) else ""
    if kind == "RELTIME":
        return "" if number == _NO_TIME else f"{number / 1e9:g}s"
    return number_text(table, number) if table in FLAG_TABLES else ""


def absolute_path(directory: str | None, path: str) -> str | None:
    """Join and clean a path, as Falco does: one that is too long for it becomes a fixed text.

    The result is relative if the directory is, as that of an unknown process.
    """
    if not path:
        return ""
    before = "" if path.startswith("/") or directory is None else directory
    if len(before) + len(path) >= _PATH_SIZE:
        return _TOO_LONG
    if directory is None or path.startswith("/") or directory.startswith("/"):
        return absolute(directory, path)
    return _joined(directory if directory in {"", UNKNOWN_DIRECTORY} else f"{directory.rstrip('/')}/", path)


def _joined(directory: str, path: str) -> str:
    """Join a relative path to a relative directory, of which ``..`` may remove all."""
    parts = directory.split("/")
    last = parts.pop()
    for number, part in enumerate(path.split("/")):
        if number == 0 and last:
            # The directory is no directory but a text, which is put before the path.
            parts.append(last + part)
        elif part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts)


def address_text(data: bytes) -> str | None:
    """Return a socket address; None if it is damaged."""
    if data[0] == _UNIX:
        return text_of(data[1 : 1 + _UNIX_PATH])
    if data[0] == _INET and len(data) >= 7:
        return f"{ip_text(_INET, data[1:5])}:{_port(data, 5)}"
    if data[0] == _INET6 and len(data) >= 19:
        return f"{inet_ntop(AF_INET6, data[1:17])}:{_port(data, 17)}"
    return _INVALID.get(data[0], f"family {data[0]}")


def address_of(data: bytes) -> End | None:
    """Return the address and port of an internet socket address; None for others."""
    if data[:1] == b"\2" and len(data) >= 7:
        return ip_text(_INET, data[1:5]), _port(data, 5)
    if data[:1] == b"\n" and len(data) >= 19:
        return _ip(data[1:17], is_mapped=_is_mapped(data[1:17])), _port(data, 17)
    return None


def ends_of(data: bytes) -> tuple[End, End] | None:
    """Return the ends of an internet socket; None for others. IPv6 is shown as IPv4 only if both ends stand for it."""
    if data[:1] == b"\2" and len(data) >= 13:
        return (ip_text(_INET, data[1:5]), _port(data, 5)), (ip_text(_INET, data[7:11]), _port(data, 11))
    if data[:1] == b"\n" and len(data) >= 37:
        source, target = data[1:17], data[19:35]
        is_mapped = _is_mapped(source) and _is_mapped(target)
        return (_ip(source, is_mapped=is_mapped), _port(data, 17)), (_ip(target, is_mapped=is_mapped), _port(data, 35))
    return None


def _port(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _is_mapped(address: bytes) -> bool:
    """Return whether an address of IPv6 stands for one of IPv4; Falco takes the unspecified one for such."""
    return address[:12] == _MAPPED or not any(address)


def _ip(address: bytes, *, is_mapped: bool) -> str:
    return ip_text(_INET, address[12:]) if is_mapped else inet_ntop(AF_INET6, address)


def unix_ends(data: bytes) -> str | None:
    """Return the name of a connected unix socket, by the kernel's addresses of both ends; None for others."""
    if data[:1] != b"\1" or len(data) < 17:
        return None
    source, target = struct.unpack_from("<QQ", data, 1)
    return f"{source:x}->{target:x} {text_of(data[17 : 17 + _UNIX_PATH])}"


def tuple_text(data: bytes) -> str:
    """Return both ends of a socket."""
    ends = ends_of(data)
    if ends is not None:
        return "->".join(f"{ip}:{port}" for ip, port in ends)
    return unix_ends(data) or _INVALID.get(data[0], f"family {data[0]}")
