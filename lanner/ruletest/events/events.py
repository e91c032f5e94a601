"""Reads one event of a test: the call with its arguments, the process, and the result."""

import errno

from collector.events.paths import absolute
from collector.events.system_calls import BY_EVENT, CALLS, NONE, Call, DescriptorFlag
from collector.records.types import File, Socket
from lanner.ruletest.events.descriptors import SOCKET_TYPES, descriptor_type, read_file, read_socket
from lanner.ruletest.events.processes import read_container, read_process
from lanner.ruletest.events.registers import PATH_FIELDS, directory_of, read_registers
from lanner.ruletest.model import CallSpec, ProcessSpec, StatedEvent
from lanner.ruletest.table import MappingReader, TestFileError, number_of, text_of
from processor.loading.problems.hints import did_you_mean
from processor.loading.yaml.nodes import Node
from schemas.catalogue.openers import FILE_OPENERS

_EXECS = ("execve", "execveat")
_DUPLICATORS = ("dup2", "dup3")
_MAKES = {
    "socket": "ipv4",
    "accept": "ipv4",
    "accept4": "ipv4",
    "connect": "ipv4",
    "bind": "ipv4",
    "listen": "ipv4",
    "memfd_create": "memfd",
    "eventfd": "event",
    "eventfd2": "event",
    "epoll_create": "eventpoll",
    "epoll_create1": "eventpoll",
    "signalfd": "signalfd",
    "signalfd4": "signalfd",
    "inotify_init": "inotify",
    "inotify_init1": "inotify",
    "userfaultfd": "userfaultfd",
    "pidfd_open": "pidfd",
    "io_uring_setup": "io_uring",
    "timerfd_create": "timerfd",
}
_FAMILIES = {"AF_UNIX": "unix", "AF_LOCAL": "unix", "AF_INET": "ipv4", "AF_INET6": "ipv6", "AF_NETLINK": "netlink"}
_FIRST_FREE = 3
_LARGEST_ERROR = 4095


def read_event(node: Node) -> StatedEvent:
    """Read an event. Raises TestFileError for the first error."""
    table = MappingReader(node, "an event")
    at = table.duration("at", 0)
    event = _event_type(table)
    container = read_container(table.get("container"))
    process_node = table.need("proc", lacks="an event has a process", add="add 'proc: {name: ...}'")
    process = read_process(process_node, container)
    if event in _EXECS and not _fails(table):
        filename = table.text("filename") or ("/proc/self/fd/3" if process.memfd else process.exepath) or process.name
        table.get("res", "evt.res", "evt.rawres")
        _refuse_unknown(table, BY_EVENT[event])
        return StatedEvent(at, event, process, 0, None, filename)
    spec = BY_EVENT[event]
    result = _result(table, spec)
    call = _read_call(spec, table, process, result)
    _refuse_unknown(table, spec)
    return StatedEvent(at, event, process, result, call)


def _refuse_unknown(table: MappingReader, spec: Call) -> None:
    also = {argument.name for argument in spec.arguments if argument.kind != "none"}
    if wrong := table.unknown():
        first = wrong[0]
        hint = first.hint
        if str(first.message).endswith(tuple(f"'{name}'" for name in also)):
            hint = "it follows from the rest of the event"
        message = f"an event of type {spec.event} has no key" + first.message.partition("has no key")[2]
        raise TestFileError(message, first.node, hint)


def _event_type(table: MappingReader) -> str:
    node = table.need("evt.type", "type", lacks="an event has a type", add="add 'evt.type: ...'")
    text = text_of(node, "evt.type")
    if text not in BY_EVENT:
        raise TestFileError(f"'{text}' is not a supported event type", node, did_you_mean(text, list(BY_EVENT)))
    return text


def _fails(table: MappingReader) -> bool:
    node = table.get("res", "evt.res", "evt.rawres")
    return node is not None and _error_number(node) < 0


def _error_number(node: Node) -> int:
    text = text_of(node, "res")
    if text == "SUCCESS":
        return 0
    number = getattr(errno, text, None) if text[:1] == "E" else None
    if isinstance(number, int):
        return -number
    if text[:1].isdigit() or text[:1] == "-":
        value = number_of(node, "res")
        if value < -_LARGEST_ERROR:
            raise TestFileError(f"unknown error {value}", node)
        return value
    hint = did_you_mean(text, list(errno.errorcode.values()))
    raise TestFileError(f"'res' takes SUCCESS, an error's name such as EACCES, or a number, not '{text}'", node, hint)


def _result(table: MappingReader, spec: Call) -> int:
    node = table.get("res", "evt.res", "evt.rawres")
    if node is not None and (number := _error_number(node)) != 0:
        return number
    if not spec.flags & DescriptorFlag.FD_IS_RESULT:
        return 0
    if node is not None and text_of(node, "res") == "0":
        return 0
    if spec.event in _DUPLICATORS:
        return table.small("newfd") or table.small("fd.num") or 0
    descriptor = table.small("fd.num")
    return _FIRST_FREE if descriptor is None else descriptor


def _read_call(spec: Call, table: MappingReader, process: ProcessSpec, result: int) -> CallSpec:
    registers, blob = read_registers(spec, table)
    path1, path2 = _paths(spec, table)
    directory1 = directory_of(spec, 0, table, process.cwd, path1)
    directory2 = directory_of(spec, 1, table, process.cwd, path2)
    fd: int | None = None
    file: File | None = None
    sock: Socket | None = None
    passed = b""
    if spec.fd != NONE or spec.flags & DescriptorFlag.FD_IS_RESULT:
        kind = descriptor_type(table) or _implied_type(spec, table)
        fd = _descriptor_number(spec, table, result)
        if kind in SOCKET_TYPES:
            sock, passed = read_socket(table, spec.event, kind or "", result)
            fd = fd if fd is not None or result >= 0 else -1
        elif kind is not None and fd is not None:
            # A file known only by its descriptor is named by the path it was opened with.
            named = table.text("fd.name") if spec.event not in FILE_OPENERS or not spec.paths else None
            path = absolute(directory1, path1) if spec.event in FILE_OPENERS and spec.paths else named or path1
            file = read_file(table, kind, path, layer=process.container is not None)
        if fd is None:
            sock = None
        elif not spec.flags & DescriptorFlag.FD_IS_RESULT and spec.fd < len(registers):
            changed = list(registers)
            changed[spec.fd] = fd & 0xFFFFFFFFFFFFFFFF
            a, b, c, d, e, f = changed
            registers = (a, b, c, d, e, f)
    return CallSpec(
        event=CALLS.index(spec),
        arguments=registers,
        fd=fd,
        file=file,
        socket=sock,
        path1=path1,
        path2=path2,
        directory1=directory1,
        directory2=directory2,
        blob1=blob,
        blob2=passed,
        is_io_uring=table.truth("evt.io_uring"),
    )


def _descriptor_number(spec: Call, table: MappingReader, result: int) -> int | None:
    stated = table.small("fd.num")
    if spec.flags & DescriptorFlag.FD_IS_RESULT:
        return result if result >= 0 else None
    return _FIRST_FREE if stated is None else stated


def _implied_type(spec: Call, table: MappingReader) -> str | None:
    if spec.event == "socket" and (domain := table.text("domain")) is not None:
        return _FAMILIES.get(domain)
    if spec.event in FILE_OPENERS or "fd.name" in table or "fd.realpath" in table:
        return "file"
    return _MAKES.get(spec.event)


def _paths(spec: Call, table: MappingReader) -> tuple[str | None, str | None]:
    found: list[str | None] = [None, None]
    for place in range(len(spec.paths)):
        names = [argument.name for argument in spec.arguments if argument.kind == f"path{place + 1}"]
        keys = [*names, *(f"evt.arg.{name}" for name in names)]
        if place < len(spec.path_roles):
            keys.insert(0, PATH_FIELDS[spec.path_roles[place]])
        if spec.event in FILE_OPENERS:
            keys.insert(0, "fd.name")
        node = table.get(*keys)
        if node is not None:
            found[place] = text_of(node, keys[0])
        elif spec.event in FILE_OPENERS or (spec.path_roles and spec.event not in _EXECS):
            raise TestFileError(f"{spec.event} takes a path", table.node, f"add '{keys[0]}: ...'")
    return found[0], found[1]
