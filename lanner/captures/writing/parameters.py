"""Parameters of events, encoded from what a batch holds of them."""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from operator import attrgetter

from collector.events.arguments.values import joined
from collector.events.paths import absolute
from lanner.captures.state.accounts import UNKNOWN_NAME
from lanner.captures.table import SIZES, EventVersion, default_bytes
from lanner.captures.values import AT_FDCWD
from lanner.captures.writing import frames
from schemas.batch import EventBatch, Process
from schemas.catalogue.fields import ParamSpec
from schemas.encoding.columns.texts import encode_text
from schemas.text.buffers import printed

_UNIX, _INET, _INET6 = b"\1", b"\2", b"\n"
_ENDS = re.compile(r"(.+):(\d+)->(.+):(\d+)")
_END = re.compile(r"(.+):(\d+)")
_UNIX_ENDS = re.compile(r"([0-9a-f]{1,16})->([0-9a-f]{1,16}) (.*)", re.DOTALL)
_PATHS = frozenset({"FSPATH", "FSRELPATH"})
_FIRST_OF_DYNAMIC = b"\0"
_TEXT_OF_DYNAMIC = {"keyctl_dynamic_param": (b"\1", b"\0"), "sockopt_dynamic_param": (b"\0", b"")}
"""The tag of a text, and what ends it."""
_NUMBER_OF_DYNAMIC = {"sockopt_dynamic_param": b"\3"}
CLONES, EXECS = frozenset({"clone", "clone3", "fork", "vfork"}), frozenset({"execve", "execveat"})
_NEED_NUMBERS = CLONES | EXECS | {"procexit"}
_NUL_SEPARATED = frozenset({"args", "cgroups", "env"})
_TEXTS_OF_PROCESS = {"args": attrgetter("args"), "env": attrgetter("env")}


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of a batch."""

    batch: EventBatch
    index: int

    def number(self, column: str) -> int:
        """Return a number of a column."""
        return self.batch.columns[column][self.index]

    def text(self, column: str) -> str | None:
        """Return the text that a column refers to."""
        return self.batch.strings[self.batch.columns[column][self.index]]

    @property
    def process(self) -> Process:
        """The process that made it."""
        return self.batch.processes[self.batch.columns["process"][self.index]]

    def arguments(self) -> dict[str, tuple[str | None, int]]:
        """Return the text and the number of each argument."""
        columns, strings = self.batch.columns, self.batch.strings
        span = range(columns["arg_start"][self.index], columns["arg_start"][self.index + 1])
        names, texts, numbers = (columns[name] for name in ("arg_name", "arg_value", "arg_raw"))
        return {strings[names[at]] or "": (strings[texts[at]], numbers[at]) for at in span}


def encode(event: RecordedEvent, version: EventVersion, cwd: str | None) -> list[bytes]:
    """Return the parameters of an event.

    Args:
        event: the event.
        version: its version in the event table.
        cwd: the working directory that a reader of the capture knows of its process.
    """
    arguments = event.arguments()
    found = [_encoded(event, version, param, arguments, cwd) for param in version.params]
    if version.name in _NEED_NUMBERS:
        # Falco's library refuses such an event if a number is missing.
        found = [each or default_bytes(param.type) for each, param in zip(found, version.params, strict=True)]
    return found


def _encoded(
    event: RecordedEvent,
    version: EventVersion,
    param: ParamSpec,
    arguments: dict[str, tuple[str | None, int]],
    cwd: str | None,
) -> bytes:
    shown, number = arguments.get(param.name, (None, 0))
    if shown == UNKNOWN_NAME and param.type in {"CHARBUF", *_PATHS}:
        return b""
    size = SIZES.get(param.type)
    if param.type in _PATHS and shown is not None:
        start = arguments.get("dirfd", ("", AT_FDCWD))[1] if "dirfd" in version.indices else AT_FDCWD
        path = _path(event, shown, cwd if start == AT_FDCWD else None, is_open=version.creates_fd)
        return encode_text(path) + b"\0"
    if param.type == "BYTEBUF" and param.name == "cgroups" and event.process.cgroup:
        return frames.cgroups(event.process.cgroup)
    if param.type == "BYTEBUF" and param.name in _NUL_SEPARATED:
        return _list(_TEXTS_OF_PROCESS[param.name](event.process) if param.name in _TEXTS_OF_PROCESS else None, shown)
    if param.type == "SOCKTUPLE":
        return _tuple(event, shown)
    if shown is None:
        return b""
    if size is not None:
        return (number % (1 << 8 * size)).to_bytes(size, "little")
    if param.type == "BYTEBUF":
        return encode_text((event.text("buffer") if param.name == "data" else None) or shown)
    if param.type == "SOCKADDR":
        return address(shown)
    if param.type == "DYN":
        return _dynamic(param, shown, number)
    return encode_text(shown) + b"\0" if param.type == "CHARBUF" else b""


def _list(own: tuple[str, ...] | None, shown: str | None) -> bytes:
    """Return texts with a NUL after each; own: those of the process, which may be those that the event shows."""
    found = frames.texts(own)
    if shown in {None, "NULL"} or shown in {joined(own), printed(found)}:
        return found
    # The event is about another process, of which only the text is known, with a dot for each NUL.
    return encode_text((shown or "").replace(".", "\0"))


def _path(event: RecordedEvent, shown: str, cwd: str | None, *, is_open: bool) -> str:
    """Return a path as it was passed, if readers can complete it; otherwise the complete one."""
    for role in ("fd_name", "path_name", "path_source", "path_target"):
        whole, raw = event.text(role), event.text(f"{role}_raw")
        if raw is not None and (shown in {whole, raw} or is_open):
            return raw if raw.startswith("/") or absolute(cwd, raw) == whole else whole or raw
    return shown


def _tuple(event: RecordedEvent, shown: str | None) -> bytes:
    """Return both ends of a socket: first the client's."""
    ends = _ENDS.fullmatch(shown or "")
    if ends is not None:
        return _both((ends[1], int(ends[2])), (ends[3], int(ends[4]))) or b""
    if shown is None or shown == "NULL" or event.text("fd_type") != "unix":
        return b""
    names = _UNIX_ENDS.fullmatch(shown)
    source, target, path = (int(names[1], 16), int(names[2], 16), names[3]) if names else (0, 0, shown)
    return _UNIX + struct.pack("<QQ", source, target) + encode_text(path) + b"\0"


def _both(source: tuple[str, int], target: tuple[str, int]) -> bytes | None:
    first, second = _packed(source[0]), _packed(target[0])
    if first is None or second is None:
        return None
    family = _INET6 if IPv6Address in {type(first), type(second)} else _INET
    ends = ((first, source[1]), (second, target[1]))
    return family + b"".join(_bytes(ip, family) + struct.pack("<H", port % 65536) for ip, port in ends)


def _bytes(ip: IPv4Address | IPv6Address, family: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + ip.packed if family == _INET6 and isinstance(ip, IPv4Address) else ip.packed


def _packed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def address(shown: str) -> bytes:
    """Return the address of a socket: an internet address and port, or a path."""
    end = _END.fullmatch(shown)
    ip = None if end is None else _packed(end[1])
    if end is None or ip is None:
        return _UNIX + encode_text(shown) + b"\0"
    return (_INET if isinstance(ip, IPv4Address) else _INET6) + ip.packed + struct.pack("<H", int(end[2]) % 65536)


def _dynamic(param: ParamSpec, shown: str, number: int) -> bytes:
    if param.info in _TEXT_OF_DYNAMIC and not number and not shown.lstrip("-").isdigit():
        tag, end = _TEXT_OF_DYNAMIC[param.info]
        return b"" if shown == "NULL" else tag + encode_text(shown) + end
    return _NUMBER_OF_DYNAMIC.get(param.info, _FIRST_OF_DYNAMIC) + (number % (1 << 64)).to_bytes(8, "little")
