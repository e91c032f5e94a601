"""Changes by events to the descriptors of the captured processes (libsinsp parsers.cpp)."""

import stat
from collections.abc import Callable
from dataclasses import dataclass

from lanner.captures.format.events import CapturedEvent
from lanner.captures.state import descriptors as kinds
from lanner.captures.state import parameters
from lanner.captures.state.accounts import UNKNOWN_NAME
from lanner.captures.state.descriptors import Interfaces, OpenDescriptor
from lanner.captures.state.parameters import UNKNOWN_DIRECTORY, ParameterReader, absolute_path
from lanner.captures.state.threads import CapturedThread, ThreadTable
from schemas.batch import EventBit
from schemas.catalog import system_calls
from schemas.catalog.system_calls import ACCEPTS, CONNECTS, FLAG_OPENERS

_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_RAW = 1, 2, 3
_IPPROTO = {1: kinds.ICMP, 6: kinds.TCP, 17: kinds.UDP}
F_SETFD, F_DUPFD_CLOEXEC = 3, 26
DUPLICATES = frozenset({1, F_DUPFD_CLOEXEC})
"""Commands of fcntl that duplicate a descriptor."""
_CLOSE_RANGE_CLOEXEC = 1 << 2
_EINPROGRESS = 115
_CREATED = 1 << 14
_TEMPORARY = 1 << 13
_CREATING, _EXECUTABLE = 4 | _TEMPORARY, 0o111
_READ, _WRITE, _EXEC, _CREATE, _SETUID = map(
    int, (EventBit.OPEN_READ, EventBit.OPEN_WRITE, EventBit.OPEN_EXEC, EventBit.OPEN_CREATE, EventBit.OPEN_SETUID)
)
OPENS = frozenset({*FLAG_OPENERS, "open_by_handle_at"})
"""Opens with flags."""
RECEIVES = frozenset({"recv", *system_calls.RECEIVES})
SENDS = frozenset({"send", *system_calls.SENDS})
TRANSFERS = RECEIVES | SENDS | {"read", "readv", "pread", "preadv", "write", "writev", "pwrite", "pwritev"}
_CREATED_AS = {
    **dict.fromkeys(("signalfd", "signalfd4"), kinds.SIGNALFD),
    **dict.fromkeys(("eventfd", "eventfd2"), kinds.EVENT),
    **dict.fromkeys(("inotify_init", "inotify_init1"), kinds.INOTIFY),
    **dict.fromkeys(("epoll_create", "epoll_create1"), kinds.EVENTPOLL),
    "timerfd_create": kinds.TIMERFD,
    "bpf": kinds.BPF,
    "userfaultfd": kinds.USERFAULTFD,
    "io_uring_setup": kinds.IO_URING,
}
_INTERNET = frozenset({b"\2", b"\n"})
_INFERRED = frozenset({"send", "sendto", "sendmsg"})
"""Events that make known a socket that was not."""
_NAMED_BY_TUPLE = CONNECTS
"""Events that name a descriptor that is unknown by the addresses that they contain."""
_OF_FAILURES = frozenset({*OPENS, "creat", "memfd_create", *CONNECTS})
"""Events that have an effect although they failed."""
_SHOWN_AS_PASSED = frozenset({"open", "creat"})
"""Events whose path Falco shows as it was passed, if they failed and it is no relative one."""
_BITS_OF_CLOEXEC = {"timerfd_create": 2, "epoll_create1": 1}


@dataclass(slots=True)
class Subject:
    """The descriptor that an event is about."""

    number: int | None = None
    """None if it is about none."""
    descriptor: OpenDescriptor | None = None
    """None if it is unknown."""
    path: str | None = None
    """The full path that an open requested."""
    raw_path: str | None = None
    flags: int = 0
    is_name_changed: bool = False
    """True if the event has changed the name of its descriptor, or made one with a name."""


class DescriptorEffects:
    """Applies events to descriptors."""

    def __init__(self, threads: ThreadTable, reader: ParameterReader, interfaces: Interfaces) -> None:
        self._interfaces = interfaces
        self._threads = threads
        self._reader = reader
        self._effects: dict[str, Callable[[CapturedEvent, CapturedThread, Subject], None]] = {
            **dict.fromkeys((*OPENS, "creat"), self._open),
            **dict.fromkeys(TRANSFERS, self._transfer),
            **dict.fromkeys(_CREATED_AS, self._create),
            **dict.fromkeys(ACCEPTS, self._accept),
            **dict.fromkeys(("pipe", "pipe2", "socketpair"), self._pair),
            **dict.fromkeys(("dup", "dup2", "dup3"), self._duplicate),
            "fcntl": self._control,
            "socket": self._socket,
            "bind": self._bind,
            "connect": self._connect,
            "close_range": self._close_range,
            "memfd_create": self._memory,
            "pidfd_open": self._process,
            "pidfd_getfd": self._from_process,
        }

    @property
    def names(self) -> frozenset[str]:
        """The names of events that change descriptors."""
        return frozenset(self._effects) | {"close"}

    def apply(self, event: CapturedEvent, thread: CapturedThread | None) -> Subject:
        """Apply an event and return its descriptor as it is now."""
        subject = Subject()
        if thread is None or not event.version.is_exit:
            return subject
        version = event.version
        if version.fd_at >= 0:
            data = event.params[version.fd_at] if version.fd_at < len(event.params) else b""
            if data:
                subject.number = int.from_bytes(data, "little", signed=True)
                subject.descriptor = self._threads.descriptor(thread, subject.number)
        effect = self._effects.get(version.name)
        if effect is not None:
            before = "" if subject.descriptor is None else subject.descriptor.name
            if event.result >= 0 or version.name in _OF_FAILURES:
                effect(event, thread, subject)
            subject.is_name_changed = subject.descriptor is not None and subject.descriptor.name != before
            if subject.descriptor is None and version.name in _NAMED_BY_TUPLE:
                data = event.bytes_of("tuple")
                subject.path = subject.raw_path = parameters.tuple_text(data) if data else "NULL"
        if subject.number is None and version.has_fd:
            subject.number = -1
        return subject

    def after(self, event: CapturedEvent, thread: CapturedThread | None, subject: Subject) -> None:
        """Apply what an event changes only once it has been evaluated."""
        if event.version.name == "close" and thread is not None and event.result >= 0 and subject.number is not None:
            self._threads.main(thread).descriptors.pop(subject.number, None)

    def _add(self, thread: CapturedThread, subject: Subject, number: int, descriptor: OpenDescriptor) -> None:
        subject.number = number
        subject.descriptor = self._threads.add_descriptor(thread, number, descriptor)

    def _open(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        name = "path" if event.version.name == "open_by_handle_at" else "name"
        source = event
        entry = event.entry
        flags = event.number_of("flags")
        if entry is not None and entry.version.name == event.version.name:
            requested = entry.text("name")
            if requested not in {None, UNKNOWN_NAME}:
                source = entry
                flags = entry.number_of("flags") | flags & ~(_CREATED - 1)
        if event.version.name == "creat":
            layer = event.number_of("creat_flags")
            flags = kinds.UPPER_LAYER if layer & 1 else kinds.LOWER_LAYER if layer & 2 else 0
        text = source.text(name)
        raw = UNKNOWN_NAME if text is None else text
        at = source.version.indices.get(name, -1)
        path: str | None = raw
        if at >= 0 and source.version.params[at].type in {"FSPATH", "FSRELPATH"}:
            directory = self._reader.directory(source, source.version.params[at], thread)
            # The kernel gives the whole path of what a handle stands for.
            start = "" if name == "path" else UNKNOWN_DIRECTORY if directory is None else directory
            path = absolute_path(start, raw)
        subject.raw_path, subject.path, subject.flags = raw, path, flags
        if event.result < 0:
            shown = event.text(name) or ""
            if name == "path" or (
                event.version.name in _SHOWN_AS_PASSED and (shown[:1] == "/" or shown == UNKNOWN_NAME)
            ):
                subject.path = shown
            return
        kind = kinds.DIRECTORY if flags & kinds.O_DIRECTORY else kinds.FILE_V2
        opened = OpenDescriptor(
            kind, path or "", raw, flags, event.number_of("dev") & 0xFFFFFFFF, event.number_of("ino")
        )
        self._add(thread, subject, event.result, opened)

    def _create(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        flags = event.number_of("flags")
        shift = _BITS_OF_CLOEXEC.get(event.version.name)
        if shift is not None:
            flags = kinds.O_CLOEXEC if flags & shift else 0
        self._add(thread, subject, event.result, OpenDescriptor(_CREATED_AS[event.version.name], flags=flags))

    def _memory(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        if event.result < 0:
            # Falco makes a descriptor of the failure, which nothing finds later.
            subject.number, subject.descriptor = event.result, OpenDescriptor()
            return
        name = event.text("name") or ""
        flags = event.number_of("flags") & kinds.O_CLOEXEC | (kinds.O_CLOEXEC if event.number_of("flags") & 1 else 0)
        self._add(thread, subject, event.result, OpenDescriptor(kinds.MEMFD, name, flags=flags))

    def _process(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        pid = event.signed("pid")
        self._add(thread, subject, event.result, OpenDescriptor(kinds.PIDFD, f"/proc/{pid}", pid=pid))

    def _from_process(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        of = self._threads.descriptor(thread, event.signed("pid_fd", -1))
        other = None if of is None or of.type != kinds.PIDFD else self._threads.find(of.pid)
        found = None if other is None else self._threads.descriptor(other, event.signed("target_fd", -1))
        if found is not None:
            self._add(thread, subject, event.result, found.copied(kinds.O_CLOEXEC))

    def _pair(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        kind = kinds.UNIX if event.version.name == "socketpair" else kinds.FIFO
        numbers = event.signed("fd1", -1), event.signed("fd2", -1)
        if kind == kinds.UNIX and numbers[0] == numbers[1]:
            return
        for number in reversed(numbers) if kind == kinds.UNIX else numbers:
            made = OpenDescriptor(kind, flags=event.number_of("flags"), ino=event.number_of("ino"))
            self._add(thread, subject, number, made)
        # Falco shows the descriptor of the first, but the number of the last.
        subject.number = numbers[1]

    def _duplicate(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        if subject.descriptor is not None:
            self._add(thread, subject, event.result, subject.descriptor.copied(event.number_of("flags")))

    def _control(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        descriptor, command = subject.descriptor, event.number_of("cmd")
        if descriptor is None:
            return
        if command == F_SETFD:
            descriptor.flags = descriptor.copied(kinds.O_CLOEXEC if event.number_of("arg") & 1 else 0).flags
        elif command in DUPLICATES:
            flags = kinds.O_CLOEXEC if command == F_DUPFD_CLOEXEC else 0
            self._add(thread, subject, event.result, descriptor.copied(flags))

    def _close_range(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        del subject
        first, last = event.number_of("first"), event.number_of("last")
        if not event.number_of("flags") & _CLOSE_RANGE_CLOEXEC:
            self._threads.close(thread, lambda number, _: first <= number <= last)
            return
        table = self._threads.main(thread).descriptors
        if self._threads.limits.afford(len(table)):
            for number, each in table.items():
                if first <= number <= last:
                    each.flags |= kinds.O_CLOEXEC

    # Sockets

    def _socket(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        numbers = [event.number_of(name) for name in ("domain", "type", "proto", "flags")]
        self._add(thread, subject, event.result, _socket(*numbers))

    def _bind(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        del thread
        descriptor, data = subject.descriptor, event.bytes_of("addr")
        if descriptor is None or not data:
            return
        end = parameters.address_of(data)
        if end is not None and end[1]:
            descriptor.type = kinds.SERVER6 if ":" in end[0] else kinds.SERVER4
            descriptor.target, descriptor.is_server = end, True
        descriptor.name = parameters.address_text(data) or ""

    def _connect(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        del thread
        descriptor = subject.descriptor
        if descriptor is None or (event.result < 0 and event.result != -_EINPROGRESS):
            return
        descriptor.is_connected = True
        data = event.bytes_of("tuple")
        requested = b"" if event.entry is None else event.entry.bytes_of("addr")
        if not data:
            end = parameters.address_of(requested)
            if end is not None:
                descriptor.type = kinds.IPV6 if ":" in end[0] else kinds.IPV4
                descriptor.target = end
            return
        ends = parameters.ends_of(data)
        if ends is None:
            if descriptor.type != kinds.UNIX:
                return
            descriptor.name = parameters.unix_ends(data) or descriptor.name
        else:
            source, target = ends
            confirmed, asked = parameters.address_of(event.bytes_of("addr")), parameters.address_of(requested)
            if confirmed == target and asked is not None:
                target = asked
            is_changed = descriptor.set_ends(source, target)
            if is_changed and descriptor.is_server and descriptor.protocol == kinds.UDP:
                descriptor.source, descriptor.target = descriptor.target, descriptor.source
            descriptor.name_connection()
        if descriptor.is_server is None:
            descriptor.is_server = False

    def _accept(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        data = event.bytes_of("tuple")
        subject.number = event.result
        if not data:
            subject.descriptor = self._threads.descriptor(thread, event.result)
            return
        made = OpenDescriptor(kinds.UNIX, is_server=True, is_connected=True)
        made.flags = event.number_of("flags") & kinds.O_CLOEXEC
        ends = parameters.ends_of(data)
        if ends is not None:
            made.protocol = kinds.TCP
            made.type = kinds.IPV6 if ":" in ends[0][0] + ends[1][0] else kinds.IPV4
            made.source, made.target = ends
        elif data[0] != _UNIX:
            return
        made.name = parameters.tuple_text(data)
        self._add(thread, subject, event.result, made)

    def _transfer(self, event: CapturedEvent, thread: CapturedThread, subject: Subject) -> None:
        name, data = event.version.name, event.bytes_of("tuple")
        if subject.descriptor is None and name in _INFERRED and subject.number is not None and data[:1] in _INTERNET:
            self._add(thread, subject, subject.number, _socket(data[0], _SOCK_DGRAM, 17, 0))
        descriptor = subject.descriptor
        if descriptor is None:
            return
        if descriptor.type in kinds.CONNECTIONS:
            descriptor.is_connected = True
        if name not in RECEIVES | SENDS or not data or (descriptor.name and descriptor.is_tcp):
            return
        ends = parameters.ends_of(data)
        if ends is None:
            unix = parameters.unix_ends(data)
            if unix is not None:
                descriptor.type, descriptor.name = kinds.UNIX, unix
            return
        if descriptor.type == kinds.SERVER6 and ":" in ends[0][0]:
            # Falco renames the listening socket, but doesn't take it for a connection.
            descriptor.name = parameters.tuple_text(data)
            return
        if not descriptor.set_ends(*ends):
            return
        descriptor.protocol = descriptor.protocol or kinds.UDP
        self._interfaces.complete(descriptor)
        is_receiving = name in RECEIVES
        if descriptor.is_server is None:
            # A server usually begins with a read. Falco takes every socket of IPv6 without a role for a client's.
            descriptor.is_server = is_receiving and descriptor.type == kinds.IPV4
        if descriptor.is_server is not is_receiving:
            descriptor.source, descriptor.target = descriptor.target, descriptor.source
        descriptor.name_connection()


def open_bits(flags: int, mode: int, result: int) -> int:
    """Return the bits of an open by its flags, the mode of the file that it may create, and its result."""
    is_created = flags & _CREATED or (flags & _TEMPORARY and result >= 0)
    bits = (_READ if flags & 1 else 0) | (_WRITE if flags & 2 else 0) | (_CREATE if is_created else 0)
    bits |= _SETUID if is_created and mode & stat.S_ISUID else 0
    return bits | (_EXEC if flags & _CREATING and mode & _EXECUTABLE else 0)


def creat_bits(mode: int) -> int:
    """Return the bits of a creat: Falco takes it neither for an open that writes nor for one that creates."""
    return _EXEC if mode & _EXECUTABLE else 0


def _socket(domain: int, kind: int, protocol: int, flags: int) -> OpenDescriptor:
    """Return a new socket, which has no ends yet."""
    if domain == _UNIX:
        return OpenDescriptor(kinds.UNIX, flags=flags)
    if domain == _NETLINK:
        return OpenDescriptor(kinds.NETLINK, flags=flags)
    if domain not in {_INET, _INET6}:
        return OpenDescriptor(flags=flags)
    if protocol == 0:
        transport = {_SOCK_STREAM: kinds.TCP, _SOCK_DGRAM: kinds.UDP}.get(kind & 0xFF, 0)
    elif protocol == 255 or (protocol in _IPPROTO and kind == _SOCK_RAW):
        transport = kinds.RAW
    else:
        transport = _IPPROTO.get(protocol, 0)
    return OpenDescriptor(kinds.IPV4 if domain == _INET else kinds.IPV6, flags=flags, protocol=transport)
