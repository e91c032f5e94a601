"""The keys of an event in a test file: the call with its arguments, the process, and the result."""

import errno
import stat
from typing import Any

from collector.events.system_calls import BY_EVENT, NONE, Call, DescriptorFlag
from collector.events.texts import absolute
from collector.records import dns, tls
from collector.records.dns import DnsAnswer
from collector.records.types import File, ProcessIdentity, Socket, Syscall
from foundation.quantities import parse_sum
from foundation.text import did_you_mean
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, Fields, Key, MappingReader, written
from foundation.yaml.nodes import Node
from lanner.ruletest.events import descriptors
from lanner.ruletest.events.processes import (
    file_keys,
    read_container,
    read_file,
    read_process,
    write_container,
    write_process,
)
from lanner.ruletest.events.registers import directory_of, is_settable, read_registers, written_argument
from lanner.ruletest.model import HOSTNAME, ProcessSpec, StatedEvent
from processor.compiler.transformers import as_text
from schemas.catalog.system_calls import CONNECTS, EXECS

_ROLES = {"n": "fs.path.name", "s": "fs.path.source", "t": "fs.path.target"}
_OPTIONAL = ("mount", "s")
"""The path that a call may lack: a change of propagation has no source."""
_DUPLICATORS = ("dup2", "dup3")
_MAKES = {
    **dict.fromkeys(("socket", *CONNECTS, "bind", "listen"), "ipv4"),
    **dict.fromkeys(("eventfd", "eventfd2"), "event"),
    **dict.fromkeys(("epoll_create", "epoll_create1"), "eventpoll"),
    **dict.fromkeys(("signalfd", "signalfd4"), "signalfd"),
    **dict.fromkeys(("inotify_init", "inotify_init1"), "inotify"),
    "memfd_create": "memfd",
    "userfaultfd": "userfaultfd",
    "pidfd_open": "pidfd",
    "io_uring_setup": "io_uring",
    "timerfd_create": "timerfd",
}
_FAMILIES = {"AF_UNIX": "unix", "AF_LOCAL": "unix", "AF_INET": "ipv4", "AF_INET6": "ipv6", "AF_NETLINK": "netlink"}
_LARGEST_ERROR = 4095
_MAX_HOSTNAME = 253
"""Characters of a DNS name."""
_NOBODY = ProcessIdentity(0, 0, 0, 0, 0, 0, 0)
"""In the place of a process that does not exist yet."""


def read_event(node: Node) -> StatedEvent:
    """Read an event. Raises BadMapping for the first error."""
    table = MappingReader(node, "an event")
    at = table.value(mappings.duration, 0, "at")
    hostname, clock = table.read(_HOSTNAME, HOSTNAME), table.value(_clock, 0, "clock")
    event_type = table.read(_TYPE, "")
    if not event_type:
        raise BadMapping("an event has a type", node, "add 'evt.type: ...'")
    spec = BY_EVENT[event_type]
    container = table.value(read_container, None, "container")
    process = read_process(table.need("proc", "an event has a process", "add 'proc: {name: ...}'"), container)
    result = _result(table, spec)
    if event_type in EXECS and result >= 0:
        filename = table.value(mappings.text, "", "filename")
        filename = filename or ("/proc/self/fd/3" if process.memfd else process.exepath) or process.name
        call = None
    else:
        filename, call = "", _read_call(spec, table, process, result)
    file = table.value(read_file, None, "fd.file")
    _refuse_unknown(table, spec)
    return StatedEvent(at, event_type, process, call, filename, hostname, clock, file)


def write_event(fields: Fields) -> dict[str, Any]:
    """Return the event of a test file that states the causes of these fields; evt.type and proc.name are required."""
    fields = {key: value for key, value in fields.items() if value is not None and value != "<NA>"}
    event = written((_HOSTNAME, _TYPE, _RESULT, _IO_URING), fields)
    spec = BY_EVENT.get(str(fields.get("evt.type")))
    if spec is not None and (spec.event not in EXECS or "res" in event):
        event |= _written_paths(spec, fields)
        for argument in spec.arguments:
            value = fields.get(f"evt.arg.{argument.name}", fields.get(f"evt.arg[{argument.name}]"))
            is_stated = value not in (None, "", "0") and argument.name not in event
            if is_stated and is_settable(argument) and not argument.kind.startswith("pair"):
                event |= written_argument(argument, as_text(value))
        if spec.flags & DescriptorFlag.ANSWERS and "dns.question.name" in fields:
            event |= written((_ASKED, _ASKED_TYPE, _CODE), fields)
            event |= {"dns.answers": str(fields["dns.answers"]).split(" ")} if "dns.answers" in fields else {}
        if spec.flags & DescriptorFlag.HELLOS:
            event |= written((_SERVER_NAME,), fields)
        if spec.flags & DescriptorFlag.FD_IS_RESULT or spec.fd != NONE:
            event |= descriptors.write_descriptor(fields, is_opened=spec.opens_file)
    if file := written(file_keys("fd.file."), fields):
        event["fd.file"] = file
    container = write_container(fields)
    if (
        container
        and spec is not None
        and spec.opens_file
        and "_LAYER" not in str(fields.get("evt.arg.flags", "_LAYER"))
    ):
        # In a test, the files of a container are on its overlay.
        event["fd.is_lower_layer"] = "false"
    return event | {"proc": write_process(fields)} | ({"container": container} if container else {})


def _refuse_unknown(table: MappingReader, spec: Call) -> None:
    also = {argument.name for argument in spec.arguments if argument.kind != "none"}
    if wrong := table.unknown():
        first = wrong[0]
        hint = first.hint
        if str(first.message).endswith(tuple(f"'{name}'" for name in also)):
            hint = "it follows from the rest of the event"
        message = f"an event of type {spec.event} has no key" + first.message.partition("has no key")[2]
        raise BadMapping(message, first.node, hint)


def _event_type(node: Node, key: str) -> str:
    text = mappings.text(node, key)
    if text not in BY_EVENT:
        raise BadMapping(f"'{text}' is not a supported event type", node, did_you_mean(text, list(BY_EVENT)))
    return text


def _stated_result(node: Node, key: str) -> int | None:
    """Return a result; None for the usual one of a call that succeeds."""
    text = mappings.text(node, key)
    if text == "SUCCESS":
        return None
    number = getattr(errno, text, None) if text[:1] == "E" else None
    if isinstance(number, int):
        return -number
    if text[:1].isdigit() or text[:1] == "-":
        value = mappings.number(node, key)
        if value < -_LARGEST_ERROR:
            raise BadMapping(f"unknown error {value}", node)
        return value
    hint = did_you_mean(text, list(errno.errorcode.values()))
    raise BadMapping(f"'{key}' takes SUCCESS, an error's name such as EACCES, or a number, not '{text}'", node, hint)


def _result(table: MappingReader, spec: Call) -> int:
    stated = table.read(_RESULT, None)
    if stated is not None:
        return stated
    if not spec.flags & DescriptorFlag.FD_IS_RESULT:
        return 0
    if spec.event in _DUPLICATORS:
        return table.value(mappings.small(), 0, "newfd") or table.read(descriptors.FD_NUM, 0)
    return table.read(descriptors.FD_NUM, descriptors.FIRST_FREE)


def _read_call(spec: Call, table: MappingReader, process: ProcessSpec, result: int) -> Syscall:
    registers, blob = read_registers(spec, table)
    path1, path2 = _paths(spec, table)
    directory1 = directory_of(spec, 0, table, process.cwd, path1)
    directory2 = directory_of(spec, 1, table, process.cwd, path2)
    fd: int | None = None
    file: File | None = None
    sock: Socket | None = None
    passed = b""
    is_result = bool(spec.flags & DescriptorFlag.FD_IS_RESULT)
    if (spec.fd != NONE and not (spec.path_roles and path1)) or is_result:
        kind = descriptors.descriptor_type(table) or _implied_type(spec, table)
        fd = table.read(descriptors.FD_NUM, descriptors.FIRST_FREE)
        if is_result:
            fd = result if result >= 0 else None
        if kind in descriptors.SOCKET_TYPES:
            sock, passed = descriptors.read_socket(table, spec.event, kind or "", result)
        elif kind is not None and fd is not None:
            # A file known only by its descriptor is named by the path it was opened with.
            opened = spec.opens_file and spec.paths
            path = absolute(directory1, path1) if opened else table.read(descriptors.FD_NAME, None) or path1
            file = descriptors.read_file(table, kind, path, layer=process.container is not None)
            if file.is_created and spec.opens_file and table.value(mappings.octal, 0, "mode") & stat.S_ISUID:
                file.mode |= stat.S_ISUID
                file.is_new_setuid = True
        if sock is not None and fd is None:
            fd = -1
        elif fd is not None and not is_result and spec.fd < len(registers):
            registers[spec.fd] = fd & 0xFFFFFFFFFFFFFFFF
    if spec.flags & DescriptorFlag.ANSWERS and (answer := _answer(table)):
        if sock is None:
            raise BadMapping("an answer comes from a name server", table.node, "add 'from: 192.0.2.53:53'")
        blob = answer
        result = len(answer)
    if spec.flags & DescriptorFlag.HELLOS and (hello := _hello(table)):
        if sock is None:
            raise BadMapping("a client of TLS has a connection", table.node, "add 'to: 192.0.2.53:443'")
        blob = hello
        result = len(hello)
    a, b, c, d, e, f = registers
    return Syscall(
        who=_NOBODY,
        event=spec.number,
        cpu=0,
        vtid=0,
        is_compat=False,
        result=result,
        arguments=(a, b, c, d, e, f),
        fd=fd,
        file=file,
        socket=sock,
        path1=path1,
        path2=path2,
        directory1=directory1,
        directory2=directory2,
        blob1=blob,
        blob2=passed,
        is_io_uring=table.read(_IO_URING, False),
    )


def _answer(table: MappingReader) -> bytes:
    """Return the message of a name server that an event receives; empty if it states none."""
    name = table.read(_ASKED, "")
    answer = DnsAnswer(name, table.read(_ASKED_TYPE, "A"), table.read(_CODE, "NOERROR"), table.read(_ANSWERS, ()))
    try:
        return dns.written(answer) if name else b""
    except ValueError as error:
        raise BadMapping(f"not an answer of a name server: {error}", table.node) from None


def _hello(table: MappingReader) -> bytes:
    """Return the ClientHello that an event sends; empty if it states no server name."""
    name = table.read(_SERVER_NAME, "")
    try:
        return tls.written(name) if name else b""
    except ValueError as error:
        raise BadMapping(f"not a server name: {error}", table.node) from None


def _implied_type(spec: Call, table: MappingReader) -> str | None:
    if spec.event == "socket" and (domain := table.value(mappings.text, None, "domain")) is not None:
        return _FAMILIES.get(domain)
    if spec.opens_file or "fd.name" in table or "fd.realpath" in table:
        return "file"
    return _MAKES.get(spec.event)


def _paths(spec: Call, table: MappingReader) -> tuple[str | None, str | None]:
    found: list[str | None] = [None, None]
    for index in range(len(spec.paths)):
        names = [argument.name for argument in spec.arguments if argument.kind == f"path{index + 1}"]
        keys = [*names, *(f"evt.arg.{name}" for name in names)]
        role = spec.path_roles[index : index + 1]
        if role in _ROLES:
            keys.insert(0, _ROLES[role])
        if spec.opens_file:
            keys.insert(0, "fd.name")
        node = table.get(*keys)
        if node is not None:
            found[index] = mappings.text(node, keys[0])
        elif (spec.opens_file or (spec.path_roles and spec.event not in EXECS and spec.fd == NONE)) and (
            spec.event,
            role,
        ) != _OPTIONAL:
            raise BadMapping(f"{spec.event} takes a path", table.node, f"add '{keys[0]}: ...'")
    return found[0], found[1]


def _written_paths(spec: Call, fields: Fields) -> dict[str, Any]:
    found = {}
    if spec.opens_file and "fd.name" in fields:
        found["fd.name"] = _opened_path(fields)
        if "evt.arg.flags" not in fields and spec.event != "creat":
            reads, writes = fields.get("evt.is_open_read"), fields.get("evt.is_open_write")
            found["flags"] = "O_RDWR" if reads and writes else "O_WRONLY" if writes else "O_RDONLY"
    # A call that takes a path or a descriptor, and had a descriptor.
    is_by_descriptor = spec.fd != NONE and "fd.name" in fields
    names = [_ROLES[role] for role in spec.path_roles if role in _ROLES and not is_by_descriptor]
    if not spec.opens_file:
        # Texts that are no paths of the event, such as an attribute's name.
        texts = {f"path{at + 1}" for at in range(2) if spec.path_roles[at : at + 1] not in _ROLES}
        names += [f"evt.arg.{argument.name}" for argument in spec.arguments if argument.kind in texts]
    return found | {name: fields[name] for name in names if name in fields}


def _opened_path(fields: Fields) -> str:
    """Return the path as it was passed if it leads out of directories, because a rule may look at that."""
    name, raw = str(fields["fd.name"]), str(fields.get("fd.nameraw", ""))
    return raw if ".." in raw and absolute(str(fields.get("proc.cwd") or "/"), raw) == name else name


def _clock(node: Node, key: str) -> int:
    text = mappings.text(node, key)
    offset = parse_sum(text.lstrip("+-"))
    if offset is None or offset > mappings.MAX_DURATION:
        raise BadMapping(f"'{key}' takes how far a host's clock is ahead (5s) or behind (-5s), not '{text}'", node)
    return -offset if text.startswith("-") else offset


def _host(node: Node, key: str) -> str:
    name = mappings.text(node, key)
    if not name or len(name) > _MAX_HOSTNAME:
        raise BadMapping(f"'{key}' takes a host's name of 1 to {_MAX_HOSTNAME} characters", node)
    return name


_HOSTNAME = Key("evt.hostname", _host, "evt.hostname", usual=HOSTNAME, names=("evt.hostname", "host"))
_TYPE = Key("evt.type", _event_type, "evt.type", names=("evt.type", "type"))
_RESULT = Key("res", _stated_result, "evt.res", usual="SUCCESS", names=("res", "evt.res", "evt.rawres"))
_ASKED = Key("dns.question.name", mappings.text, "dns.question.name")
_ASKED_TYPE = Key("dns.question.type", mappings.text, "dns.question.type", usual="A")
_CODE = Key("dns.response_code", mappings.text, "dns.response_code", usual="NOERROR")
_ANSWERS = Key("dns.answers", mappings.texts)
_SERVER_NAME = Key("tls.client.server_name", mappings.text, "tls.client.server_name")
_IO_URING = Key("evt.io_uring", mappings.truth, "evt.io_uring", usual=False)
