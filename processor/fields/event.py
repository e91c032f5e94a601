"""Fields of an event that need more than one column: arguments, result, category, descriptor, addresses.

Source: libsinsp event.cpp, sinsp_filtercheck_event.cpp and sinsp_filtercheck_fd.cpp.
"""

import socket
from errno import errorcode
from functools import cache, lru_cache
from posixpath import normpath
from typing import TypeVar

from foundation.caches import cache_short_texts
from schemas.batch import FILE_FACTS, EventBatch, EventBit
from schemas.catalog.fields import EventType, ParamSpec, event_spec
from schemas.catalog.flags import TYPE_CHARACTERS
from schemas.catalog.system_calls import CONNECTS, FILE_OPENERS, FLAG_OPENERS, LINKS, PATH_OPENERS, RENAMES, SYMLINKS
from schemas.encoding.limits import is_clock

NUMERIC_TYPES = frozenset(
    (
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "DOUBLE", "BOOL", "MODE"),
        *("ERRNO", "FD", "FD32", "PID", "PID32", "UID", "GID", "PORT", "SYSCALLID", "SIGTYPE", "SIGSET"),
        *("RELTIME", "ABSTIME", "DYN", "FLAGS8", "FLAGS16", "FLAGS32", "ENUMFLAGS8", "ENUMFLAGS16", "ENUMFLAGS32"),
    )
)
_SIGNED_TYPES = frozenset({"UINT32", "UINT64", "UID", "GID"})
"""Types without a sign that Falco prints with one."""
_WITH_TARGET = frozenset({*LINKS, *RENAMES, *SYMLINKS, "mount", "move_mount"})
_MASKS = {32: 0xFFFFFFFF, 64: 0xFFFFFFFFFFFFFFFF}
_BASES = {"HEX": "X", "OCT": "o"}
_WIDTHS = (("16", 16), ("32", 32), ("8", 8), ("", 64))
"""Bits of a type, by how its name ends."""
_PLAIN_DECIMAL = frozenset({"ERRNO", "FD", "FLAGS8", "FLAGS16", "FLAGS32", "ENUMFLAGS8", "ENUMFLAGS16", "ENUMFLAGS32"})
_RAW_COLUMN = {
    "oldpath": "path_source_raw",
    "newpath": "path_target_raw",
    "linkpath": "path_target_raw",
    "dir": "path_target_raw",
}
_CHARACTER_WITHOUT_FD = {
    **dict.fromkeys(PATH_OPENERS - {"open"}, "f"),
    "socket": "4",
    "accept": "4",
    "accept4": "4",
    "pipe": "p",
    "pipe2": "p",
    "eventfd": "e",
    "eventfd2": "e",
    "signalfd": "s",
    "signalfd4": "s",
    "timerfd_create": "t",
    "inotify_init": "i",
    "inotify_init1": "i",
}
_CHANGES_OF_FILES = frozenset({"fchmod", "fchown", "ftruncate", "fallocate", "fsetxattr", "futimesat", "utimensat"})
_FIRST_PATHS = {
    **dict.fromkeys(("openat", "openat2", "open_by_handle_at"), "fd_name"),
    **dict.fromkeys(
        (
            "unlinkat",
            "mkdirat",
            "fchmodat",
            "fchmodat2",
            "fchownat",
            "setxattrat",
            "futimesat",
            "utimensat",
            "file_setattr",
        ),
        "path_name",
    ),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), "path_source"),
    "symlinkat": "path_target",
}
_SECOND_PATHS = dict.fromkeys(("renameat", "renameat2", "linkat"), "path_target")
"""The columns of evt.abspath, which calls without a descriptor of a directory lack."""
_FILE_TYPES = frozenset({"file", "directory"})
_IPC_TYPES = frozenset({"pipe", "unix", "event", "signalfd", "inotify", "userfaultfd"})
_INTERNET_TYPES = frozenset({"ipv4", "ipv6"})
_NET_TYPES = _INTERNET_TYPES | {"unix"}


def _spec(event_type: str | None) -> EventType | None:
    return None if event_type is None else event_spec(event_type)


def argument_slot(batch: EventBatch, i: int, name: str) -> int:
    """Return the index of an argument in the argument columns, or -1; name: the parameter's name or its index."""
    columns = batch.columns
    start, end = columns["arg_start"][i], columns["arg_start"][i + 1]
    if name.isdigit():
        return start + int(name) if start + int(name) < end else -1
    names = columns["arg_name"]
    strings = batch.strings
    for slot in range(start, end):
        if strings[names[slot]] == name:
            return slot
    return -1


def argument_text(batch: EventBatch, i: int, name: str) -> str | None:
    """Return evt.arg.NAME: the value as text, decoded if possible."""
    slot = argument_slot(batch, i, name)
    return None if slot < 0 else batch.strings[batch.columns["arg_value"][slot]]


def raw_argument(batch: EventBatch, i: int, name: str) -> int | str | None:
    """Return evt.rawarg.NAME: the argument's number, or its text if it is not numeric."""
    slot = argument_slot(batch, i, name)
    if slot < 0:
        return None
    text = batch.strings[batch.columns["arg_value"][slot]]
    if text is None:
        return None
    param = parameter(batch.strings[batch.columns["type"][i]], name)
    if param is not None and param.type not in NUMERIC_TYPES:
        return text
    return batch.columns["arg_raw"][slot]


def descriptor_number(batch: EventBatch, i: int) -> int:
    """Return fd.num where its column has -1, which is unsigned in the anonymous mmap of old captures."""
    return _MASKS[32] if raw_argument(batch, i, "fd") == _MASKS[32] else -1


def shown_raw_argument(batch: EventBatch, i: int, name: str) -> int | str | None:
    """Return evt.rawarg.NAME as output prints it: a missing number is 0, a hexadecimal or octal one is a text."""
    value = raw_argument(batch, i, name)
    if value is None and argument_slot(batch, i, name) < 0:
        return None
    param = parameter(batch.strings[batch.columns["type"][i]], name)
    if param is None or param.type not in NUMERIC_TYPES:
        return value
    number = value if isinstance(value, int) else 0
    if param.format not in _BASES:
        return number
    width = next(bits for suffix, bits in _WIDTHS if param.type.endswith(suffix))
    return f"{number & ((1 << width) - 1):{_BASES[param.format]}}"


@cache
def parameter(event_type: str | None, name: str) -> ParamSpec | None:
    """Return the event table's entry for an argument."""
    spec = _spec(event_type)
    if spec is None:
        return None
    if name.isdigit():
        return spec.params[int(name)] if int(name) < len(spec.params) else None
    return next((param for param in spec.params if param.name == name), None)


def arguments_text(batch: EventBatch, i: int) -> str:
    """Return evt.args: ``fd=3(<f>/etc/passwd) name=/etc/passwd flags=1(O_RDONLY)``."""
    columns, strings = batch.columns, batch.strings
    event_type = strings[columns["type"][i]]
    parts = []
    for slot in range(columns["arg_start"][i], columns["arg_start"][i + 1]):
        name = strings[columns["arg_name"][slot]] or ""
        value = strings[columns["arg_value"][slot]]
        param = parameter(event_type, name)
        if value is None:
            text = "<NA>"
        elif param is not None and param.type in NUMERIC_TYPES and param.type not in ("ABSTIME", "SIGSET"):
            number = number_text(param, columns["arg_raw"][slot])
            if param.type == "DYN" and _is_plain(columns["arg_raw"][slot], value):
                number = value
            text = number if value in (number, "") else f"{number}({value})"
        elif param is not None and param.type in ("FSRELPATH", "FSPATH"):
            raw = strings[columns[_RAW_COLUMN.get(name, "path_name_raw")][i]]
            if name == "trusted_exepath":
                raw = batch.processes[columns["process"][i]].exepath
            if raw is None:
                raw = strings[columns["fd_name_raw"][i]]
            text = f"{raw}({value})" if raw and value != "<NA>" and _is_completed(raw, value) else value
        else:
            text = value
        parts.append(f"{name}={text}")
    return " ".join(parts)


def _is_plain(number: int, value: str) -> bool:
    """Return whether a parameter of several types contains a text, or a number without a name."""
    return value == f"{number & _MASKS[64]:X}" if number else not value.startswith("<") and value != "0s"


def _is_completed(raw: str, path: str) -> bool:
    """Return whether Falco shows a path beside what the call was passed: a relative one of which anything is left."""
    return not raw.startswith("/") and (raw != path or bool(normpath(raw).strip("./")))


def number_text(param: ParamSpec, number: int) -> str:
    """Return an argument's number, with Falco's encoding, in its parameter's format; flags are always decimal."""
    if param.type == "DYN" or param.type in _PLAIN_DECIMAL:
        return str(number)
    if param.type == "RELTIME":
        return "none" if number == -1 else str(number & _MASKS[64])
    bits = 64 if param.type.endswith("64") else 32
    if param.format in ("DEC", "NA", "ID"):
        is_negative = param.type in _SIGNED_TYPES and number >> bits - 1 & 1
        return str((number & _MASKS[bits]) - (1 << bits) if is_negative else number)
    number &= _MASKS[bits]
    if param.format == "OCT":
        return f"0{number:o}" if number else "0"
    return f"{number:X}"


@lru_cache(maxsize=4096)
def result_text(event_type: str | None, result: int) -> str:
    """Return evt.res: SUCCESS, or the error's name, or its number where Falco takes the result for something else."""
    if result >= 0:
        return "SUCCESS"
    first = parameter(event_type, "0")
    if first is not None and first.type in ("UID", "GID"):
        return "<NONE>"
    if first is None or first.type in ("ERRNO", "FD"):
        return errorcode.get(-result) or str(result)
    return number_text(first, result)


@cache
def system_call(event_type: str | None) -> str | None:
    """Return syscall.type: the event's type if it is a system call."""
    spec = _spec(event_type)
    return event_type if spec is not None and spec.origin == "syscall" else None


@cache
def direction(event_type: str | None) -> str:
    """Return evt.dir: events that don't come from the exit of a system call count as entries."""
    spec = _spec(event_type)
    return "<" if spec is None or spec.origin == "syscall" else ">"


@cache
def category(event_type: str | None) -> str | None:
    """Return the category of an event's type."""
    spec = _spec(event_type)
    return None if spec is None else spec.category


@lru_cache(maxsize=4096)
def shown_category(event_type: str | None, fd_type: str | None) -> str | None:
    """Return evt.category: that of the type, or for input and output the kind of the descriptor."""
    found = category(event_type)
    if found is not None and found.startswith("io-"):
        kinds = (("file", _FILE_TYPES), ("net", _INTERNET_TYPES), ("ipc", _IPC_TYPES))
        return next((kind for kind, types in kinds if fd_type in types), "unknown")
    return "IPC" if found == "ipc" else found


def is_io(event_type: str | None, *, is_known: int = 0) -> bool:
    """Return whether an event reads or writes, or is counted as doing so if its descriptor is known."""
    spec = _spec(event_type)
    if spec is None:
        return False
    return spec.reads_from_fd or spec.writes_to_fd or (bool(is_known) and spec.category.startswith("io-"))


@cache
def is_read(event_type: str | None) -> bool:
    """Return whether an event reads from a descriptor."""
    spec = _spec(event_type)
    return spec is not None and spec.reads_from_fd


@cache
def is_write(event_type: str | None) -> bool:
    """Return whether an event writes to a descriptor."""
    spec = _spec(event_type)
    return spec is not None and spec.writes_to_fd


@cache
def is_wait(event_type: str | None) -> bool:
    """Return whether an event makes its thread wait."""
    spec = _spec(event_type)
    return spec is not None and spec.waits


def io_direction(event_type: str | None) -> str | None:
    """Return evt.io_dir."""
    return "read" if is_read(event_type) else "write" if is_write(event_type) else None


def is_syslog(event_type: str | None, name: str | None) -> bool:
    """Return whether an event writes to the system log's socket."""
    return name is not None and "/dev/log" in name and is_write(event_type)


@lru_cache(maxsize=4096)
def error_kinds(event_type: str | None, fd_type: str | None) -> frozenset[str]:
    """Return which of the evt.count.error.* fields count an event, if it fails: by its descriptor, else by its type."""
    memory = {"memory"} if category(event_type) == "memory" else set()
    if fd_type is not None:
        by_fd = "file" if fd_type in _FILE_TYPES else "net" if fd_type in _NET_TYPES else "other"
        return frozenset(memory | {by_fd})
    if event_type in FILE_OPENERS:
        return frozenset({"file"})
    return frozenset({"net"} if event_type in CONNECTS else memory or {"other"})


def type_character(event_type: str | None, fd_type: str | None, fd_num: int | None) -> str | None:
    """Return fd.typechar; without a known descriptor, the event type determines it."""
    if fd_type is not None:
        return TYPE_CHARACTERS.get(fd_type, "o")
    found = _CHARACTER_WITHOUT_FD.get(event_type or "")
    return found or ("o" if fd_num is not None else None)


@cache_short_texts(8192)
def directory_part(name: str) -> str:
    """Return the directory of a file name, as in fd.directory."""
    slash = name.rfind("/")
    if slash <= 0:
        return "/"
    return name[:slash] if slash < len(name) - 1 else name


@cache_short_texts(8192)
def file_part(name: str) -> str:
    """Return the last component of a file name, as in fd.filename."""
    slash = name.rfind("/")
    if slash < 0:
        return "/"
    return name[slash + 1 :] if slash < len(name) - 1 else name


def directory(fd_type: str | None, name: str | None) -> str | None:
    """Return fd.directory; for an open directory, that is its own name; None for descriptors other than files."""
    if name is None:
        return None
    if fd_type in ("file", None):
        return directory_part(name)
    return name if fd_type == "directory" else None


def path_of_descriptor(event_type: str | None, name: str | None, result: int) -> str | None:
    """Return fs.path.name of a call that names its file by a descriptor, or gives one, if it succeeds."""
    if event_type in FLAG_OPENERS:
        return name if result != -1 else None
    return name if event_type in _CHANGES_OF_FILES and result == 0 else None


def path_field(event_type: object) -> str:
    """Return the field that evt.path is, for events of a type."""
    if event_type in FILE_OPENERS:
        return "fd.name"
    return "fs.path.target" if event_type in _WITH_TARGET else "fs.path.name"


def path_of_event(event_type: str | None, file: str | None, target: str | None, name: str | None) -> str | None:
    """Return evt.path, of the fields that it may be."""
    return {"fd.name": file, "fs.path.target": target, "fs.path.name": name}[path_field(event_type)]


def path_at(batch: EventBatch, i: int, role: str) -> str | None:
    """Return evt.abspath, which only calls with a directory's descriptor have. role: dst for the second path."""
    columns, strings = batch.columns, batch.strings
    event_type = strings[columns["type"][i]] or ""
    if event_type == "open_by_handle_at" and columns["res"][i] <= 0:
        return None
    column = _SECOND_PATHS.get(event_type) if role == "dst" else None
    column = column or _FIRST_PATHS.get(event_type)
    return None if column is None else strings[columns[column][i]]


_HAS_ROLE = int(EventBit.HAS_ROLE)
_IS_SERVER = int(EventBit.IS_SERVER)
_Side = TypeVar("_Side", str, int)


def client_side(bits: int, local: _Side | None, remote: _Side | None) -> _Side | None:
    """Return the client's address or port; None if the roles are unknown."""
    if not bits & _HAS_ROLE:
        return None
    return remote if bits & _IS_SERVER else local


def server_side(bits: int, local: _Side | None, remote: _Side | None) -> _Side | None:
    """Return the server's address or port; None if the roles are unknown."""
    if not bits & _HAS_ROLE:
        return None
    return local if bits & _IS_SERVER else remote


def present(*values: _Side | None) -> tuple[_Side, ...]:
    """Return the values that are not missing."""
    return tuple(value for value in values if value is not None)


_CLOCK_DIGITS = 19


@lru_cache(maxsize=4096)
def file_fact(text: str | None, at: int) -> str | None:
    """Return one of the facts about a file that NULs separate in a text; None without one."""
    return None if text is None else next(iter(text.split("\0")[at : at + 1]), None) or None


def file_time(text: str | None) -> int | None:
    """Return when such a file was written, nanoseconds since the epoch; None if its host sent no such time."""
    found = file_fact(text, FILE_FACTS.index("written_at"))
    if found is None or not (found.isascii() and found.isdecimal()) or len(found) > _CLOCK_DIGITS:
        return None
    return int(found) if is_clock(int(found)) else None


def word(text: str | None, at: int) -> str | None:
    """Return one of the words that blanks separate in a text; None without one."""
    return next(iter(words_from(text, at)), None)


@lru_cache(maxsize=4096)
def words_from(text: str | None, at: int) -> tuple[str, ...]:
    """Return the words of such a text, from one on."""
    return () if text is None else tuple(text.split(" ")[at:])


def registered_domain(name: str | None) -> str | None:
    """Return the end of a name that somebody registered; None if it has a single label.

    There is no list of all names below which people register: three labels are taken below two of at most three and of
    two letters (co.uk, com.br), else two.
    """
    labels = (name or "").rsplit(".", 3)[-3:]
    if len(labels) < 2:
        return None
    is_below_two = len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels if is_below_two else labels[-2:])


def names_of(batch: EventBatch, address: str | None) -> tuple[str, ...]:
    """Return the names that loaded rules use for an address; addresses of events are never looked up."""
    return () if address is None else batch.names.get(address, ())


def all_names(batch: EventBatch, i: int, address: str | None) -> tuple[str, ...]:
    """Return the names of an address: those looked up on the host, the newest first, and those that rules use."""
    found = batch.columns["remote_names"][i]
    if found and batch.strings[batch.columns["remote_ip"][i]] == address:
        return (*words_from(batch.strings[found], 0), *names_of(batch, address))
    return names_of(batch, address)


def first_name(batch: EventBatch, i: int, address: str | None) -> str | None:
    """Return fd.*.name as output prints it: the first of the names."""
    return next(iter(all_names(batch, i, address)), None)


@lru_cache(maxsize=4096)
def service_name(port: int | None, protocol: str | None) -> str | None:
    """Return a port's service name, or its number if it has none."""
    if port is None:
        return None
    if protocol in ("tcp", "udp"):
        try:
            return socket.getservbyport(port, protocol)
        except OSError:
            return str(port)
    return str(port)
