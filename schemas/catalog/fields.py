"""The field catalog and the event table: which names rules may use, and what each name means.

Loader, compiler, formatter, collector and documentation all use these tables, so a name is known everywhere or
nowhere. The tables follow Falco's libsinsp filter checks and driver event table.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from sys import intern
from types import MappingProxyType
from typing import Any, Literal

ArgumentRule = Literal["none", "optional", "required"]
ArgumentKind = Literal["", "index", "key", "index or key"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field that conditions and outputs may use; checks, generated code and documentation read the same row."""

    name: str
    type: str
    """Falco's value type: CHARBUF, INT64, BOOL, IPADDR, IPNET, PORT, RELTIME ..."""
    family: str
    """The field class in the documentation: evt, fd, process, container ..."""
    argument: ArgumentRule
    argument_kind: ArgumentKind
    format: str
    """How a number is printed: DEC, HEX, ID, 10_PADDED_DEC; NA for text."""
    description: str
    is_list: bool = False
    filter_only: bool = False
    print_only: bool = False
    deprecated: bool = False
    no_rhs: bool = False
    no_transformer: bool = False
    table_only: bool = False


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One parameter of an event, as ``evt.arg`` and ``evt.rawarg`` return it."""

    name: str
    type: str
    format: str
    info: str
    """Name of the flag table, or DIRFD_PARAM(n) for a path relative to parameter n."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type: its category, its parameters and its properties in Falco's event table."""

    name: str
    category: str
    """evt.category: file, net, ipc, process, user, memory, io-read ..."""
    origin: str
    """syscall, tracepoint or metaevent."""
    params: tuple[ParamSpec, ...]
    uses_fd: bool = False
    creates_fd: bool = False
    reads_from_fd: bool = False
    writes_to_fd: bool = False
    waits: bool = False
    modifies_state: bool = False


def _data(name: str) -> Any:
    return json.loads(Path(__file__).parents[1].joinpath(name).read_text(encoding="utf-8"))


def _fields() -> dict[str, FieldSpec]:
    specs = {}
    for name, kind, family, argument, argument_kind, form, flags, text in _data("catalogue_fields.json"):
        marks = dict.fromkeys(flags, True)
        # Few kinds and families, in many rows; json makes a string of each.
        specs[name] = FieldSpec(
            name, intern(kind), intern(family), argument, argument_kind, intern(form), text, **marks
        )
    return specs


_EVENT_DATA = _data("catalogue_events.json")


def _events(rows: Mapping[str, Any]) -> Mapping[str, EventType]:
    return MappingProxyType(
        {
            name: EventType(
                name=name,
                category=row["c"].replace("_", "-"),
                origin=row["k"],
                params=tuple(ParamSpec(*map(intern, param)) for param in row["p"]),
                uses_fd="uses_fd" in row["f"],
                creates_fd="creates_fd" in row["f"],
                reads_from_fd="reads_from_fd" in row["f"],
                writes_to_fd="writes_to_fd" in row["f"],
                waits="waits" in row["f"],
                modifies_state="modifies_state" in row["f"],
            )
            for name, row in rows.items()
        }
    )


_FIELDS = _fields()
BUILT_IN_FIELDS = frozenset(_FIELDS)
FIELDS: Mapping[str, FieldSpec] = MappingProxyType(_FIELDS)
"""Every known field by name; those that settings define come last."""

EVENTS: Mapping[str, EventType] = _events(_EVENT_DATA["events"])
"""Every event type with parameters of its own, by name; other system calls are generic events."""

SYSCALLS: frozenset[str] = frozenset(_EVENT_DATA["syscalls"])
"""The names of all system calls that Falco knows; those without an entry in EVENTS are generic events."""

ARGUMENT_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(map(intern, types)) for name, types in _EVENT_DATA["arguments"].items()}
)
del _EVENT_DATA
"""The types of each argument name of any event, in the order of the event table."""

GENERIC_PARAMS: tuple[ParamSpec, ...] = EVENTS["syscall"].params

_FIELD_TEXT = re.compile(r"([a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)*)(.*)", re.DOTALL)
_DOTTED = ("evt.arg", "evt.rawarg", "evt.abspath", "evt.type.is", "thread.cgroup")
NUMBERED = ("evt.arg", "evt.rawarg")
"""Fields whose brackets contain an argument's number in rules; a named argument follows a dot."""
_INDEX = re.compile(r"[0-9]+")
_ABSPATHS = frozenset({"src", "dst"})


def own_field(name: str, family: str, kind: str, description: str, *, is_list: bool = False) -> FieldSpec:
    """Return the row of a field that settings define; a list also accepts the index of an element."""
    return FieldSpec(
        name,
        kind,
        family,
        "optional" if is_list else "none",
        "index" if is_list else "",
        "NA" if kind == "CHARBUF" else "DEC",
        description,
        is_list=is_list,
    )


def define_fields(specs: Iterable[FieldSpec]) -> None:
    """Replace the fields that settings define; no name may be that of a built-in field."""
    own = {spec.name: spec for spec in specs}
    if own == {name: spec for name, spec in _FIELDS.items() if name not in BUILT_IN_FIELDS}:
        return
    for name in [name for name in _FIELDS if name not in BUILT_IN_FIELDS and name not in own]:
        del _FIELDS[name]
    _FIELDS.update(own)
    resolve_field.cache_clear()


def is_event_type(name: str) -> bool:
    """Return whether evt.type can have this value."""
    return name in EVENTS or name in SYSCALLS


def event_spec(name: str) -> EventType | None:
    """Return the row of an event type; system calls without a row get a generic one. None if there is no such type."""
    spec = EVENTS.get(name)
    if spec is not None:
        return spec
    return _generic(name) if name in SYSCALLS else None


@cache
def _generic(name: str) -> EventType:
    return EventType(name, "other", "syscall", GENERIC_PARAMS)


@lru_cache(maxsize=4096)
def resolve_field(text: str) -> tuple[FieldSpec, str | None] | None:
    """Resolve a field, as written in a rule, to its row and its bare argument; None if there is no such field.

    Both forms of an argument are accepted where Falco accepts them: ``proc.aname[2]``, ``evt.arg.name``,
    ``evt.arg[0]``. The whole text has to be a field; a prefix does not match.
    """
    match = _FIELD_TEXT.fullmatch(text)
    if match is None:
        return None
    name, rest = match.groups()
    argument = _bracketed(rest) if rest else None
    if rest and argument is None:
        return None
    spec = FIELDS.get(name)
    if spec is None:
        if rest:
            return None
        for base in _DOTTED:
            if name.startswith(base + ".") and _argument_fits(FIELDS[base], tail := name[len(base) + 1 :]):
                return FIELDS[base], tail
        return None
    if argument is None:
        return None if spec.argument == "required" and name != "evt.abspath" else (spec, None)
    if spec.argument == "none" or not _argument_fits(spec, argument):
        return None
    return spec, argument


def field_problem(text: str) -> str | None:
    """Return why ``text`` is not a field, as a message to the rule's author; None if it is a field."""
    if resolve_field(text) is not None:
        return None
    match = _FIELD_TEXT.fullmatch(text)
    name = match.group(1) if match else text
    spec = FIELDS.get(name)
    if spec is None:
        return f"unknown field '{text}'"
    if match is not None and not match.group(2):
        return f"field '{name}' needs an argument, for example {name}[...]"
    if spec.argument == "none":
        return f"field '{name}' takes no argument"
    return f"field '{name}' does not take this argument: '{text[len(name) :]}'"


def _bracketed(rest: str) -> str | None:
    if len(rest) < 3 or rest[0] != "[" or rest[-1] != "]":
        return None
    inner = rest[1:-1].strip()
    if len(inner) >= 2 and inner[0] in "\"'" and inner[-1] == inner[0]:
        inner = inner[1:-1]
    return inner or None


def _argument_fits(spec: FieldSpec, argument: str) -> bool:
    if spec.name in ("evt.arg", "evt.rawarg"):
        if _INDEX.fullmatch(argument):
            return spec.name == "evt.arg"
        return argument in ARGUMENT_TYPES
    if spec.name == "evt.abspath":
        return argument in _ABSPATHS
    if spec.name == "evt.type.is":
        return is_event_type(argument)
    if spec.argument_kind == "index":
        return _INDEX.fullmatch(argument) is not None and int(argument) < 2**31
    if spec.name == "evt.around":
        return _INDEX.fullmatch(argument) is not None
    return True


SYSCALL = "syscall"
K8S_AUDIT = "k8s_audit"
JSON = "json"
SSHD = "sshd"
MAPPED = ("github", "aws_cloudtrail", "okta", SSHD)
"""The sources of JSON whose mappings are shipped."""
_BUILT_IN = (SYSCALL, K8S_AUDIT, JSON, *MAPPED)
_SOURCES = dict.fromkeys(_BUILT_IN, "")
SOURCES: Mapping[str, str] = MappingProxyType(_SOURCES)
"""By source, the file that defines it, if one does. Rules of others load with a warning and are not evaluated."""

_EVERYWHERE = frozenset({
    "evt.num", "evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s",
    "evt.rawtime", "evt.rawtime.s", "evt.rawtime.ns", "evt.source", "evt.pluginname", "evt.plugininfo",
    "indicator.name", "indicator.description", "indicator.kind", "indicator.list", "indicator.source",
})  # fmt: skip
"""The fields that the events of every source have; plugins' rules name the last two, which have no value."""


def define_sources(files: Mapping[str, str], specs: Iterable[FieldSpec]) -> None:
    """Replace the sources of JSON that settings define, by name with their files.

    The specs are of the fields that only these files define; each has its source as family.
    """
    define_fields(specs)
    for name in [name for name, file in _SOURCES.items() if file and name not in files]:
        if name in _BUILT_IN:
            _SOURCES[name] = ""
        else:
            del _SOURCES[name]
    _SOURCES.update(files)


def has_field(source: str, spec: FieldSpec) -> bool:
    """Return whether the events of a source have a field; those of system calls have all but the fields of others."""
    if spec.family == JSON:
        return source != SYSCALL
    if spec.family in _SOURCES:
        return source == spec.family
    return source == SYSCALL or spec.name in _EVERYWHERE


RESERVED = frozenset({SYSCALL, K8S_AUDIT, JSON, *(spec.family for spec in FIELDS.values())} - {*MAPPED})
"""Names that no other source can have."""
