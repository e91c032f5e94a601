"""The output formatter: fills a rule's output with the values of an event.

All work that does not depend on the event is done when a rule is loaded. Source: libsinsp
eventformatter.cpp; the fields appended to every output are those that Falco's container plugin suggests.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foundation.text import printable
from processor.compiler.batch import BatchAccess
from processor.compiler.codegen import Access, Constants, Emitter, Expression
from processor.compiler.mapping import ItemAccess, MappingAccess, converted, field_keys
from processor.compiler.operands import Shape, encoded, side_shape
from processor.compiler.transformers import as_text
from processor.fields import extract
from processor.fields.extract import output_expression
from processor.fields.process import ancestors, leaders
from processor.language.ast import Check, Field, Left, Node, checks, indicators_in
from processor.language.tokens import IN_INDICATORS
from processor.output.tokens import Part, Token, output_sides, parse_output, side_text
from schemas.alert import ARGUMENTS
from schemas.batch import EventBatch, Process
from schemas.catalog.fields import FIELDS, SYSCALL

if TYPE_CHECKING:
    from processor.indicators.lists import IndicatorList, IndicatorSpec
    from processor.indicators.tables import Entry

MISSING = "<NA>"
Values = tuple[Any, ...]
Read = Callable[[int, int], Values]
"""Returns the values of an event, by its index and the string index of its file name; both are 0 in a document."""

SUGGESTED = {
    "container_id": "container.id",
    "container_name": "container.name",
    "container_image_repository": "container.image.repository",
    "container_image_tag": "container.image.tag",
    "k8s_pod_name": "k8s.pod.name",
    "k8s_ns_name": "k8s.ns.name",
}
"""The fields appended to the output of every rule on system calls, if the event has values for them."""

_SHOWN = frozenset(name for name, spec in FIELDS.items() if spec.format == "HEX")
"""Numbers that are texts among the output fields."""
_TIMES = frozenset({"evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s"})


def suggested(text: str) -> dict[str, str]:
    """Return the suggested fields that an output does not name, by their labels."""
    named = {part.key for part in parse_output(text) if isinstance(part, Token)}
    return {label: field for label, field in SUGGESTED.items() if field not in named}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A formatted output."""

    text: str
    fields: dict[str, Any]
    """The values by key; None if missing, times in ns, numbers as numbers."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A compiled output."""

    parts: tuple[Part, ...]
    sides: tuple[Left, ...]
    """The distinct fields and transformers of the output."""
    appended: tuple[tuple[str, Left], ...]
    """Parts to append to the text if they have values: label and field."""
    _slots: Mapping[str, int]
    _fields: Mapping[str, int]
    _found: tuple[Check, ...]
    _binding: "Binding"
    _factory: Callable[[Any], Read]

    def bind(self, events: Any) -> Callable[[int, int], Rendered]:
        """Return a function from an event's index and the string index of its file name to the formatted output.

        events: a batch or a document, by the source that the output was compiled for.
        """
        read = self._factory(events)
        times = self._binding.times(events)
        return lambda index, name: self._render(read(index, name), times[index])

    def fill(self, event: Mapping[str, Any]) -> Rendered:
        """Format the output for an event given as a mapping of fields."""
        return self._render(_values_of(self.sides, event, self._found), event.get("evt.rawtime"))

    def _render(self, values: Values, time: int | None) -> Rendered:
        texts = [
            part if isinstance(part, str) else _cut(shown(values[self._slots[part.key]], part.side), part.width)
            for part in self.parts
        ]
        texts += [
            f" {label}={shown(value, side)}"
            for label, side in self.appended
            if (value := values[self._slots[side_text(side)]]) is not None
        ]
        fields = {key: values[slot] for key, slot in self._fields.items()}
        for key in _TIMES & fields.keys():
            fields[key] = time if time is not None else fields[key]
        for key in _SHOWN & fields.keys():
            fields[key] = None if fields[key] is None else shown(fields[key], Field(key))
        return Rendered("".join(texts), fields)


def compile_output(
    text: str,
    appended: Mapping[str, str] = MappingProxyType({}),
    *,
    transformers: bool = True,
    source: str = SYSCALL,
    found: tuple[Check, ...] = (),
) -> OutputFormat:
    """Compile an output text.

    Falco fills in an output without all its values only if it begins with an asterisk. Here, every output is, and
    the asterisk is not part of it.

    Args:
        text: of the rule.
        appended: fields to append to it if they have a value, by label.
        transformers: whether its transformers are fields of their own; those of an alert are not.
        source: of the events that it is filled from.
        found: the checks of its rule in lists of indicators; their results are appended.

    Raises:
        OutputError: the text is not a valid output.
    """
    parts = parse_output(text)
    if parts and isinstance(parts[0], str) and parts[0].startswith("*"):
        parts = (parts[0][1:], *parts[1:])
    sides: dict[str, Left] = {}
    for part in parts:
        if isinstance(part, Token):
            sides.update({side_text(side): side for side in output_sides(part)})
    of_indicator = {label: name for label, name in _NAMED_INDICATOR.items() if found and name not in sides}
    tail = tuple((label, Field(name)) for label, name in (*appended.items(), *of_indicator.items()))
    sides.update({side_text(side): side for _, side in tail})
    if found:
        sides.update({name: Field(name) for name in INDICATOR_FIELDS})
    slots = {key: slot for slot, key in enumerate(sides)}
    fields = {key: slots[key] for key, side in sides.items() if transformers or isinstance(side, Field)}
    binding = binding_of(source)
    read = binding.reader(sides.values(), found)
    return OutputFormat(parts, tuple(sides.values()), tail, slots, fields, found, binding, read)


def shown(value: Any, side: Left) -> str:
    """Return a value as text, in the field's format."""
    if value is None:
        return MISSING
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(side, Field):
        spec = side_shape(side).spec
        if spec is not None and spec.format == "HEX":
            return f"{value:X}"
        if spec is not None and spec.format == "10_PADDED_DEC":
            return f"{value:09d}"
    return as_text(value)


def _cut(text: str, width: int) -> str:
    if not width:
        return text
    if text.isascii():
        return text[:width].ljust(width)
    return encoded(text)[:width].ljust(width).decode("utf-8", "surrogateescape")


INDICATOR_FIELDS: "Mapping[str, Callable[[IndicatorSpec, Entry], str]]" = {
    "indicator.name": lambda _, entry: entry.text,
    "indicator.description": lambda _, entry: entry.description,
    "indicator.kind": lambda spec, _: spec.kind,
    "indicator.list": lambda spec, _: spec.name,
    "indicator.source": lambda spec, _: spec.source,
}
"""Facts about the indicator that a rule found, for its alert."""
FOUND_LATER = "indicator.found_later"
"""The time at which a search of stored events made an alert, in its output fields: RFC 3339. Other alerts have none."""
_NAMED_INDICATOR = {
    "indicator": "indicator.name",
    "indicator_list": "indicator.list",
    "indicator_source": "indicator.source",
}


def indicator_checks(condition: Node) -> tuple[Check, ...]:
    """Return the checks of a condition that look a value of the event up in lists of indicators."""
    return tuple(check for check in checks(condition) if check.operator == IN_INDICATORS)


def _found(name: str, lists: "Sequence[Sequence[IndicatorList]]") -> Callable[..., str | None]:
    part = INDICATOR_FIELDS[name]

    def read(*values: Any) -> str | None:
        for value, known in zip(values, lists, strict=True):
            for text in value if isinstance(value, tuple) else () if value is None else (value,):
                for each in known:
                    if (entry := each.find(text)) is not None:
                        return part(each.spec, entry) or None
        return None

    return read


@dataclass(frozen=True, slots=True)
class _IndicatorAccess:
    """Adds the fields of the indicator that a rule found: they depend on its condition, not on the event alone."""

    others: Access
    operands: Emitter
    """For the left sides of checks."""
    found: tuple[Check, ...]

    def field(self, shape: Shape) -> Expression:
        name = shape.field.name
        if name not in INDICATOR_FIELDS:
            return self.others.field(shape)
        constants = self.operands.constants
        read = constants.add(_found(name, [indicators_in(check) for check in self.found]), name)
        return Expression(
            f"{read}({', '.join(self.operands.side(check.left).text for check in self.found)})", frozenset()
        )


class _OutputAccess:
    def field(self, shape: Shape) -> Expression:
        found = output_expression(shape.field.name, shape.argument)
        return Expression("None", frozenset()) if found is None else Expression(found.expression, found.sources)


def values_factory(
    sides: Iterable[Left], found: tuple[Check, ...] = ()
) -> Callable[[EventBatch], Callable[[int, int], Values]]:
    """Compile a reader of several fields at once.

    It is a function from a batch to one from an event's index and the string index of its file name to the values.
    found: the checks of the rule in lists of indicators.
    """
    constants = Constants()
    operands = Emitter(BatchAccess(), constants)
    emitter = Emitter(_IndicatorAccess(_OutputAccess(), operands, found), constants)
    texts = [emitter.side(side).text for side in sides]
    values = "".join(f"{text}, " for text in texts)
    body = ["    def read(i, n):", "        q = P[c_process[i]]", f"        return ({values})", "    return read"]
    source = "\n".join(["def make(B):", *extract.prelude(body), *body])
    return _when_used(lambda: extract.execute(source, constants.values, "<output>")["make"])


def _when_used(compiled: Callable[[], Callable[[Any], Read]]) -> Callable[[Any], Read]:
    """Return a reader that is compiled when the first event needs it: most rules never alert."""
    made = cache(compiled)

    def read(events: Any) -> Read:
        return made()(events)

    return read


def _document_values(sides: Iterable[Left], found: tuple[Check, ...] = ()) -> Callable[[Any], Read]:
    """Compile a reader of several fields of a document, as values_factory does for a batch."""
    constants = Constants()
    emitter = Emitter(_IndicatorAccess(ItemAccess(), Emitter(ItemAccess(), constants), found), constants)
    values = "".join(f"{emitter.side(side).text}, " for side in sides)
    source = f"lambda e: lambda i, n: ({values})"
    return _when_used(lambda: eval(source, constants.values))  # noqa: S307  generated


@dataclass(frozen=True, slots=True)
class Binding:
    """How fields of one kind of events are read."""

    reader: Callable[[Iterable[Left], tuple[Check, ...]], Callable[[Any], Read]]
    """Compiles a reader of several fields, of a rule with some checks in lists of indicators."""
    times: Callable[[Any], Sequence[int]]
    """Returns the times of a batch's events, or of a document alone, ns since the epoch."""


COLUMNS = Binding(values_factory, lambda batch: batch.columns["time"])
DOCUMENTS = Binding(_document_values, lambda document: (document.time,))


def binding_of(source: str) -> Binding:
    """Return how the events of a source are read."""
    return COLUMNS if source == SYSCALL else DOCUMENTS


class _MappingAccess:
    def field(self, shape: Shape) -> Expression:
        return Expression(f"get({shape.field.name!r}, {shape.argument!r}, {shape.kind!r})", frozenset())


def _values_of(sides: Iterable[Left], event: Mapping[str, Any], found: tuple[Check, ...]) -> Values:
    def get(name: str, argument: str | None, kind: str) -> Any:
        for key in field_keys(name, argument):
            if event.get(key) is not None:
                return converted(event[key], kind)
        return None

    constants = Constants()
    operands = Emitter(MappingAccess(constants), constants)
    emitter = Emitter(_IndicatorAccess(_MappingAccess(), operands, found), constants)
    texts = [emitter.side(side).text for side in sides]
    names = {**constants.values, "get": get, "e": event}
    return tuple(eval(text, names) for text in texts)  # noqa: S307  generated from a checked output


_LEVELS = range(2, 9)

_PLAIN = (
    *("evt.num", "evt.type", "evt.category", "evt.rawtime", "evt.cpu", "evt.res", "evt.rawres", "evt.failed"),
    *("evt.args", "evt.io_uring", "evt.is_open_read", "evt.is_open_write", "evt.is_open_exec", "evt.is_open_setuid"),
    *("fd.num", "fd.type", "fd.typechar", "fd.name", "fd.nameraw", "fd.realpath", "fd.directory", "fd.filename"),
    *("fd.lip", "fd.rip", "fd.cip", "fd.sip", "fd.lport", "fd.rport", "fd.cport", "fd.sport", "fd.l4proto"),
    *("fd.sip.name", "fd.cip.name", "fd.sockfamily", "fd.is_server", "fd.dev", "fd.ino"),
    *("fd.file.sha256", "fd.file.origin", "fd.file.package", "fd.file.package.version", "fd.file.package.type"),
    *("fd.file.written_by", "fd.file.written_by.user", "fd.file.written_at"),
    *("dns.question.name", "dns.question.registered_domain", "dns.question.type", "dns.response_code", "dns.answers"),
    "tls.client.server_name",
    *("fs.path.name", "fs.path.nameraw", "fs.path.source", "fs.path.target"),
    *("proc.pid", "proc.vpid", "proc.ppid", "proc.name", "proc.exe", "proc.exepath", "proc.codepath", "proc.cmdline"),
    "proc.args",
    *("proc.cwd", "proc.tty", "proc.sid", "proc.sname", "proc.pgid", "proc.vpgid", "proc.loginshellid"),
    *("proc.exe.sha256", "proc.exe.origin", "proc.exe.package", "proc.exe.package.version", "proc.exe.package.type"),
    *("proc.exe.written_by", "proc.exe.written_by.user", "proc.exe.written_at"),
    *("proc.script.path", "proc.script.sha256", "proc.script.origin", "proc.script.package"),
    *(
        "proc.script.package.version",
        "proc.script.package.type",
        "proc.script.written_by",
        "proc.script.written_by.user",
    ),
    "proc.script.written_at",
    *("proc.pid.ts", "proc.duration", "proc.exe_ino", "proc.is_exe_writable", "proc.is_exe_upper_layer"),
    *(
        "proc.is_exe_from_memfd",
        "proc.args.truncated",
        "proc.pname",
        "proc.pexe",
        "proc.pexepath",
        "proc.pcodepath",
        "proc.pcmdline",
        "proc.ppid.ts",
    ),
    *("thread.tid", "thread.vtid", "thread.cap_effective", "thread.cgroups"),
    *("user.uid", "user.name", "user.loginuid", "user.loginname", "group.gid", "group.name"),
    *("container.id", "container.full_id", "container.name", "container.type", "container.image"),
    *("container.image.id", "container.image.repository", "container.image.tag", "container.image.digest"),
    *("container.privileged", "container.mounts", "container.truncated", "container.ip", "container.start_ts"),
    *("k8s.pod.name", "k8s.pod.uid", "k8s.ns.name", "k8s.pod.labels"),
    *("k8s.deployment.name", "k8s.rs.name", "k8s.svc.name", "k8s.owner.kind", "k8s.owner.name"),
    *("k8s.serviceaccount.name", "k8s.node.name", "k8s.cluster.name"),
)
_ANCESTRY = ("proc.aname", "proc.apid", "proc.aexepath", "proc.acodepath", "proc.acmdline")

ROW_FIELDS: tuple[Field, ...] = (
    *(Field(name) for name in _PLAIN),
    *(Field(name, str(level)) for name in _ANCESTRY for level in _LEVELS),
)
NAMES = tuple(field.name if field.argument is None else f"{field.name}[{field.argument}]" for field in ROW_FIELDS)
_FACTORY = values_factory(ROW_FIELDS)


def known_fields(output_fields: Mapping[str, Any], event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an alert states about its event; a value of None is missing, a field that is absent is unknown.

    event: the whole event, which omits missing values; empty if the alert has none.
    """
    return {**dict.fromkeys(NAMES if event else ()), **output_fields, **event}


def event_row(batch: EventBatch) -> Callable[[int, int], dict[str, Any]]:
    """Return a function from an event's index and the string index of its file name to its fields.

    Missing fields are omitted, and those for which Falco has the text <NA>. What Falco has no field for has ECS's name.
    """
    read = _FACTORY(batch)
    rows, column = batch.processes, batch.columns["process"]
    host = {name: value for name, value in _host(batch) if value}

    def row(index: int, name: int) -> dict[str, Any]:
        pairs = zip(NAMES, read(index, name), strict=True)
        made = {key: value for key, value in pairs if value is not None and value != MISSING}
        return made | host | dict(_beyond_falco(rows, rows[column[index]]))

    return row


def _host(batch: EventBatch) -> Iterator[tuple[str, Any]]:
    yield "event.created", batch.created
    yield "agent.version", batch.collector_version
    yield "host.os.kernel", batch.kernel
    yield "host.os.name", batch.os_name
    yield "host.architecture", batch.architecture
    yield "host.ip", tuple(batch.addresses)


def _server(rows: Sequence[Process], process: Process) -> Iterator[tuple[str, Any]]:
    """Yield what is known of the nearest process that listens on the network, from the process itself upward."""
    line = (process, *islice(ancestors(rows, process), _LEVELS[-1]))
    found = next((each for each in line if each.server is not None), None)
    if found is None or (server := found.server) is None:
        return
    yield "proc.server.name", printable(found.name or "")
    yield "proc.server.pid", found.pid
    yield "proc.server.listening", tuple(map(printable, server.listening))
    for name, value in (("", server.package), (".version", server.package_version), (".type", server.package_type)):
        if value:
            yield f"proc.server.package{name}", printable(value)
    if server.libraries:
        yield "proc.server.libraries", tuple(map(printable, server.libraries))


def _beyond_falco(rows: Sequence[Process], process: Process) -> Iterator[tuple[str, Any]]:
    yield from _server(rows, process)
    if process.exe is not None and process.args is not None:
        yield ARGUMENTS, (process.exe, *process.args)
    for kind, leader in leaders(rows, process):
        if kind == "entry_leader":
            # The pids of the others are proc.sid and proc.pgid.
            yield "process.entry_leader.pid", leader.pid
        facts = {"start": leader.start_time, "name": leader.name, "executable": leader.exepath}
        yield from ((f"process.{kind}.{name}", value) for name, value in facts.items() if value)
