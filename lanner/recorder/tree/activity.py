"""The actor and the action of one event, with text that is safe to print.

Pure: takes batches, returns activities.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from foundation.quantities import date_and_time_seconds
from foundation.text import printable
from lanner.recorder.event_rows import looked_up
from notifier.formats.phrases import origin_text, package_text
from processor.fields.extract import reader
from processor.fields.process import command_line
from processor.output.redaction import Redaction
from schemas.batch import EventBatch, EventBit, Process, ProgramFile
from schemas.catalog.system_calls import EXECS, FILE_OPENERS, LINKS, RENAMES, SYMLINKS

_MAPPED = "::ffff:"
"""Before an IPv4 address of a socket that takes both kinds."""
_SSH = "SSH_CONNECTION="
_WORDS = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class SocketPair:
    """The addresses and ports of a connection, as one of its ends sees them."""

    local: str
    local_port: int
    remote: str
    remote_port: int

    @property
    def mirrored(self) -> "SocketPair":
        """The connection as the other end sees it, unless addresses are translated in between."""
        return SocketPair(self.remote, self.remote_port, self.local, self.local_port)

    @property
    def is_loopback(self) -> bool:
        """True if both ends are on one host, whatever other hosts have the same addresses."""
        try:
            return ip_address(self.remote).is_loopback or ip_address(self.local).is_loopback
        except ValueError:
            return True

    def __str__(self) -> str:
        return f"{self.local}:{self.local_port} -> {self.remote}:{self.remote_port}"


def socket_of(batch: EventBatch, index: int) -> SocketPair | None:
    """Return the connection that an event is about; None if both ends aren't known."""
    columns, strings = batch.columns, batch.strings
    local_port, remote_port = columns["local_port"][index], columns["remote_port"][index]
    if local_port <= 0 or remote_port <= 0:
        return None
    local, remote = strings[columns["local_ip"][index]], strings[columns["remote_ip"][index]]
    return SocketPair(plain(local), local_port, plain(remote), remote_port) if local and remote else None


def ssh_socket(environment: Iterable[str] | None) -> SocketPair | None:
    """Return the connection of the ssh session that a process belongs to, if that variable is collected."""
    value = next((each.removeprefix(_SSH) for each in environment or () if each.startswith(_SSH)), "")
    parts = _WORDS.findall(value)
    if len(parts) != 4 or not all(port.isascii() and port.isdigit() and len(port) <= 5 for port in parts[1::2]):
        return None
    remote, remote_port, local, local_port = parts
    return SocketPair(plain(local), int(local_port), plain(remote), int(remote_port))


def plain(address: str) -> str:
    """Return an address in the form that both ends state."""
    return address.removeprefix(_MAPPED) if "." in address else address


MAX_TEXT = 1_000
"""Characters of one text; the flat list and JSON have the rest."""
EXEC, EXIT, LOOK_UP, REQUEST = "exec", "exit", "look up", "request"
OPEN_FOR_WRITING = "open for writing"
_MOVES = frozenset({*RENAMES, *LINKS, *SYMLINKS})
_NOTABLE = frozenset({"modified", "dropped", "memory"})
_VERBS = {**dict.fromkeys(FILE_OPENERS, "open"), **dict.fromkeys(EXECS, EXEC), "procexit": EXIT}


@dataclass(frozen=True, slots=True)
class Actor:
    """A process as an event shows it."""

    host: str
    pid: int
    start: int | None
    """ns since the epoch."""
    name: str
    command: str
    user: str
    container: str
    """Name or id; empty for the host."""
    ssh: SocketPair | None = None
    """The connection of its ssh session, if the variable is collected that states it."""
    origin: str = ""
    """Where its program comes from, unless a package or an image brought it."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One event."""

    time: int
    number: str
    """evt.num."""
    line: tuple[Actor, ...]
    """The process, its parent, and so on."""
    verb: str
    target: str
    error: str
    """Name of the error; empty if the call succeeded."""
    count: int = 1
    socket: SocketPair | None = None
    """The connection that it is about."""
    files: tuple[str, ...] = ()
    """The program that it ran, or the file that it wrote: opened for writing, renamed to, or linked to."""


def activity_maker(batch: EventBatch, redaction: Redaction) -> Callable[[int], Activity]:
    """Return a function from an event's index to its activity."""
    columns, strings = batch.columns, batch.strings
    result, server = reader(batch, "evt.res"), reader(batch, "fd.rip.name")
    actors: dict[int, Actor] = {}
    lines: dict[int, tuple[Actor, ...]] = {}

    def safe(text: str) -> str:
        shown = printable(redaction.text(text))
        return shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]}…"

    def actor(row: int) -> Actor:
        process = batch.processes[row]
        container = batch.containers[process.container] if process.container >= 0 else None
        name, uid = process.name or "<NA>", "" if process.uid is None else str(process.uid)
        return Actor(
            batch.host_id,
            process.pid,
            process.start_time,
            safe(name),
            safe(command_line(process) or name),
            safe(process.user or uid),
            "" if container is None else safe(container.name or container.id),
            ssh_socket(process.env),
            safe(_origin(process)),
        )

    def line(row: int) -> tuple[Actor, ...]:
        rows = []
        while row >= 0:
            rows.append(row)
            row = batch.processes[row].parent
        return tuple(actors[each] if each in actors else actors.setdefault(each, actor(each)) for each in rows)

    def activity(index: int) -> Activity:
        event = strings[columns["type"][index]] or ""
        verb = _VERBS.get(event, event)
        row = columns["process"][index]
        chain = lines[row] if row in lines else lines.setdefault(row, line(row))
        bits = columns["bits"][index]
        if verb == "open" and bits & EventBit.OPEN_WRITE:
            verb = OPEN_FOR_WRITING
        if columns["dns"][index]:
            verb = LOOK_UP
        elif columns["server_name"][index]:
            verb = REQUEST
        error = str(result(index)) if bits & EventBit.FAILED and verb != EXIT else ""
        target = chain[0].command if verb == EXEC and not error else safe(_target(batch, index, verb))
        name = server(index)
        if name and name != strings[columns["server_name"][index]]:
            target = f"{target}, looked up as {safe(str(name))}"
        return Activity(
            time=columns["time"][index],
            number=str(batch.first_number + index),
            line=chain,
            verb=verb,
            target=target,
            error=error,
            count=1 + columns["repeats"][index],
            socket=socket_of(batch, index),
            files=() if error else tuple(map(safe, _files(batch, index, verb))),
        )

    return activity


def _target(batch: EventBatch, index: int, verb: str) -> str:
    columns, strings = batch.columns, batch.strings

    def text(column: str) -> str:
        return strings[columns[column][index]] or ""

    arguments = {
        strings[columns["arg_name"][at]]: strings[columns["arg_value"][at]] or ""
        for at in range(columns["arg_start"][index], columns["arg_start"][index + 1])
    }
    if verb == LOOK_UP:
        return looked_up(text("dns"))
    if verb == REQUEST:
        return f"{text('server_name')} (TLS) at {text('remote_ip')}"
    if verb == EXIT:
        signal, status = arguments.get("sig", ""), arguments.get("ret", "")
        return f"by {signal}" if signal not in ("", "0") else status
    if verb == "connect" and text("remote_ip"):
        port = columns["remote_port"][index]
        return text("remote_ip") if port < 0 else f"{text('remote_ip')}:{port}"
    if source := text("path_source"):
        return f"{source} -> {text('path_target')}"
    named = text("fd_name") or text("path_name")
    return named or " ".join(f"{name}={value}" for name, value in arguments.items() if name != "res" and value)


def _files(batch: EventBatch, index: int, verb: str) -> Iterable[str]:
    columns, strings = batch.columns, batch.strings
    if verb == EXEC:
        process = batch.processes[columns["process"][index]]
        # The path is that of a script, whose program is its interpreter.
        script = None if process.script is None else process.script.path
        found = [process.exepath, script, strings[columns["path_name"][index]]]
    elif verb == OPEN_FOR_WRITING:
        found = [strings[columns["fd_name"][index]]]
    else:
        found = [strings[columns["path_target"][index]]] if verb in _MOVES else []
    return dict.fromkeys(filter(None, found))


def _origin(process: Process) -> str:
    """Return where a program and its script come from if that is worth a look."""
    parts = ((f"{word} {_words(file)}", file) for word, file in (("program", process.file), ("script", process.script)))
    return "; ".join(text for text, file in parts if file is not None and file.origin in _NOTABLE)


def _words(file: ProgramFile | None) -> str:
    if file is None:
        return ""
    when = "" if file.written_at is None else f" at {date_and_time_seconds(file.written_at)}"
    package = package_text(file.package, file.package_version)
    return origin_text(file.origin, package, file.written_by, file.written_by_user, when)
