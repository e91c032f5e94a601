"""Formats an event of a batch as a line for people, or as a row for programs."""

from collections.abc import Callable, Iterator
from typing import Any

from foundation.quantities import clock
from foundation.text import printable
from notifier.formats.phrases import NO_ADDRESS, NOERROR
from processor.fields.extract import reader
from processor.output.redaction import Redaction
from schemas.batch import EventBatch

ROW_FIELDS = (
    *("evt.num", "evt.time.iso8601", "evt.type", "evt.res", "evt.rawres", "evt.failed"),
    *("proc.name", "proc.pid", "proc.ppid", "proc.pname", "proc.cmdline", "proc.exepath", "proc.cwd", "proc.tty"),
    *("proc.exe.sha256", "proc.exe.origin", "proc.exe.package", "proc.exe.package.version", "proc.exe.written_by"),
    *("proc.exe.written_by.user", "proc.exe.written_at", "proc.script.path", "proc.script.sha256"),
    *("proc.script.origin", "proc.script.package", "proc.script.written_by", "proc.script.written_by.user"),
    *("fd.file.sha256", "fd.file.origin", "fd.file.package", "fd.file.written_by", "fd.file.written_by.user"),
    *("proc.is_exe_writable", "proc.is_exe_upper_layer", "proc.is_exe_from_memfd", "thread.tid"),
    *("user.uid", "user.name", "user.loginuid", "group.gid", "group.name"),
    *("fd.num", "fd.type", "fd.name", "fd.nameraw", "fd.sip", "fd.sport", "fd.cip", "fd.cport", "fd.l4proto"),
    *("fd.sip.name", "fd.cip.name", "dns.question.name", "dns.question.type", "dns.response_code", "dns.answers"),
    "tls.client.server_name",
    *("fs.path.name", "fs.path.source", "fs.path.target"),
    *("container.id", "container.name", "container.image", "k8s.ns.name", "k8s.pod.name"),
)


def line_maker(batch: EventBatch, redaction: Redaction) -> Callable[[int], str]:
    """Return a function from an event's index to a terminal-safe line: time, container, process, call, result."""
    read = {
        name: reader(batch, name) for name in ("evt.res", "proc.cmdline", "user.name", "container.id", "fd.rip.name")
    }
    strings, columns = batch.strings, batch.columns

    def line(index: int) -> str:
        process = batch.processes[columns["process"][index]]
        container = read["container.id"](index) or "?"
        what = ", ".join(f"{name}={value}" for name, value in _arguments(batch, index) if value is not None)
        name = strings[columns["fd_name"][index]] or strings[columns["path_name"][index]]
        parts = [
            clock(columns["time"][index]),
            f"{container}",
            f"{process.name or '<NA>'}({process.pid})",
            f"{read['user.name'](index) or '<NA>'}",
            f"{strings[columns['type'][index]]}({what})",
            f"= {read['evt.res'](index)}",
        ]
        server, answer = read["fd.rip.name"](index), strings[columns["dns"][index]]
        known = [name] if name else []
        known += [f"looked up as {server}"] if server else []
        known += [f"look up {looked_up(answer)}"] if answer else []
        known += [f"request {requested} (TLS)"] if (requested := strings[columns["server_name"][index]]) else []
        if known:
            parts.append(f"[{', '.join(known)}]")
        return printable(redaction.text(" ".join(parts)))

    return line


def looked_up(answer: str) -> str:
    """Return an answer of a name server, as batches have it, for people."""
    name, kind, code, *found = answer.split(" ")
    return f"{name} ({kind}) -> {' '.join(found) or (NO_ADDRESS if code == NOERROR else code)}"


def row_maker(batch: EventBatch, redaction: Redaction) -> Callable[[int], dict[str, Any]]:
    """Return a function from an event's index to its values by field name; missing values are omitted."""
    read = {name: reader(batch, name) for name in ROW_FIELDS}

    def row(index: int) -> dict[str, Any]:
        values = {name: value for name in ROW_FIELDS if (value := read[name](index)) is not None}
        found: dict[str, Any] = dict(redaction.values(values))
        found["evt.args"] = redaction.values(dict(_arguments(batch, index)))
        found["batch.sequence"] = batch.sequence
        found["evt.hostname"] = batch.hostname
        return found

    return row


def lines(batch: EventBatch, redaction: Redaction) -> Iterator[str]:
    """Yield each event as one line."""
    return map(line_maker(batch, redaction), range(batch.count))


def rows(batch: EventBatch, redaction: Redaction) -> Iterator[dict[str, Any]]:
    """Yield each event as a mapping of field names to values."""
    return map(row_maker(batch, redaction), range(batch.count))


def _arguments(batch: EventBatch, index: int) -> list[tuple[str, str | None]]:
    columns, strings = batch.columns, batch.strings
    indexes = range(columns["arg_start"][index], columns["arg_start"][index + 1])
    return [(strings[columns["arg_name"][at]] or "", strings[columns["arg_value"][at]]) for at in indexes]
