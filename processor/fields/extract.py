"""The expression of each field, and the functions that evaluate it for an event of a batch.

The compiler inlines these expressions into rules; output formatting and ``extract`` evaluate the same
expressions, so that a field has only one meaning. `prelude` and `event_names` bind the names that an
expression may use.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from foundation import quantities, text
from processor.fields import event, process
from processor.fields.expressions import ANCESTRY, BITS, BOTH_ENDS, NAMES, PLAIN, SEVERAL, with_argument
from schemas.batch import ARGUMENT_COLUMNS, EVENT_COLUMNS, EventBatch
from schemas.catalog.fields import FieldSpec, resolve_field

FUNCTIONS: Mapping[str, Any] = MappingProxyType(
    {
        name: function
        for module in (text, event, process, quantities)
        for name, function in vars(module).items()
        if callable(function) and getattr(function, "__module__", "") == module.__name__ and not name.startswith("_")
    }
)
"""The functions that expressions may call."""

_COLUMNS = (*EVENT_COLUMNS, *ARGUMENT_COLUMNS)
_COLUMN = re.compile(r"\bc_[a-z0-9_]+")


def prelude(body: Sequence[str]) -> list[str]:
    """Return the statements that bind the parts of a batch ``B`` and the columns that the lines of code use."""
    used = set(_COLUMN.findall("\n".join(body)))
    return [
        "    S = B.strings; P = B.processes; C = B.containers",
        *(f"    c_{column} = B.columns[{column!r}]" for column in _COLUMNS if f"c_{column}" in used),
    ]


def execute(source: str, constants: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Execute code that was generated from checked trees, and return its global names. file: for tracebacks."""
    # Only what the code names: a dictionary of all functions takes 7 KB, for each of hundreds of outputs.
    used = FUNCTIONS.keys() & set(_WORD.findall(source))
    names: dict[str, Any] = {**{name: FUNCTIONS[name] for name in used}, **constants}
    exec(compile(source, file, "exec"), names)  # noqa: S102  generated from checked trees
    return names


def event_names(batch: EventBatch, i: int, name: int | None = None) -> dict[str, Any]:
    """Return all names bound to one event of a batch, to evaluate single expressions.

    name: the string index of the file name; None for fd.name.
    """
    columns = batch.columns
    return {
        **FUNCTIONS,
        **{f"c_{column}": columns[column] for column in _COLUMNS},
        "B": batch,
        "S": batch.strings,
        "P": batch.processes,
        "C": batch.containers,
        "i": i,
        "n": columns["fd_name"][i] if name is None else name,
        "p": columns["process"][i],
        "q": batch.processes[columns["process"][i]],
    }


Value = str | int | bool | float | tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class FieldExpression:
    """A field's expression and the sources that its value depends on."""

    expression: str
    sources: frozenset[str]
    """``process``, with ``identity`` if it is about what distinguishes equal processes; ``name``, ``event`` or single
    columns such as ``c_bits``."""
    several: bool = False
    """True if the expression returns a tuple of values, any of which a condition may match."""
    subject: str = ""
    """If the values are several names of one thing: the expression of that thing.

    `!=` is true if the thing is present and none of its names is equal.
    """
    bit: int = 0
    """For boolean fields of the event: the bit of ``c_bits`` for the value."""


_OWN = {"proc.apid": PLAIN["proc.pid"], "proc.aenv": PLAIN["proc.env"]}
"""Ancestor fields that without a level are those of the process itself in output."""
IDENTITY = frozenset({
    *("pid", "ppid", "vpid", "pgid", "vpgid", "sid", "start_time", "exec_time", "pidns_init_start_time"),
    "exec_generation",
})  # fmt: skip
"""The members of a process in which those differ that run the same program in the same way."""
_LEADER = re.compile(r"\bis_leader\([^()]*\)")
"""Reads such members only to compare them; kinds of processes have the results."""
_READ_IDENTITY = IDENTITY | {"login_shell", "session_leader", "group_leader"}
_OF_PROCESS = ("proc.", "user.", "group.", "thread.", "container.", "k8s.")
OF_PROCESS = frozenset({"process", "identity"})
"""The sources of what depends on nothing but the process."""
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _sources(expression: str) -> frozenset[str]:
    words = set(_WORD.findall(expression))
    found = {word for word in words if word.startswith("c_")}
    if "q" in words:
        found.add("process")
    if _READ_IDENTITY.intersection(_WORD.findall(_LEADER.sub("", expression))):
        found.add("identity")
    if "n" in words:
        found.add("name")
    if "B" in words and not found & {"c_time"}:
        found.add("event")
    return frozenset(found)


@cache
def value_expression(field: str, argument: str | None = None) -> FieldExpression | None:
    """Return the expression of a field's single value; None if batches never contain it."""
    if argument is None:
        expression = PLAIN.get(field)
        if field in ANCESTRY:
            expression = _OWN.get(field)
    else:
        expression = with_argument(field, argument)
    if expression is None:
        return None
    return FieldExpression(expression, _sources(expression), bit=int(BITS.get(field, 0)))


@cache
def condition_expression(field: str, argument: str | None = None) -> FieldExpression | None:
    """Return the expression of a field in a condition: as ``value_expression``, but some fields have several values.

    An ancestor field without a level has the values of all ancestors; fd.ip, fd.net, fd.port and fd.proto
    have those of both ends of the connection; fields of services have those of all services of the pod, and dns.answers
    has each answer.
    """
    if argument is None and field in BOTH_ENDS:
        return FieldExpression(BOTH_ENDS[field], _sources(BOTH_ENDS[field]), several=True)
    if argument is None and field in SEVERAL:
        return FieldExpression(SEVERAL[field], _sources(SEVERAL[field]), several=True)
    if argument is not None and field == "k8s.svc.label":
        expression = f"service_labels(pod_of(C, q), {argument!r})"
        return FieldExpression(expression, _sources(expression), several=True)
    if argument is None and field in NAMES:
        expression, subject = NAMES[field]
        return FieldExpression(expression, _sources(expression), several=True, subject=subject)
    if argument is None and field in ANCESTRY:
        what = re.sub(r"\bq\b", "a", ANCESTRY[field])
        # A function makes a new text of others, which may be long.
        is_made = what.endswith("(a)")
        values = f"{what} for a in ancestors(P, q)"
        expression = f"present(*within_line({values}))" if is_made else f"present(*[{values}])"
        return FieldExpression(expression, _sources(expression), several=True)
    return value_expression(field, argument)


@cache
def is_of_process(field: str, argument: str | None = None) -> bool:
    """Return whether a field's value depends on nothing but the process, so that an ancestor has it too."""
    found = condition_expression(field, argument)
    return field.startswith(_OF_PROCESS) and (found is None or found.sources <= OF_PROCESS)


@cache
def output_expression(field: str, argument: str | None = None) -> FieldExpression | None:
    """Return the expression of a field in output: an ancestor field without a level joins all ancestors with blanks.

    A missing numeric raw argument is 0 in output, although it does not exist in a condition.
    """
    if field == "evt.rawarg" and argument is not None:
        return FieldExpression(f"shown_raw_argument(B, i, {argument!r})", frozenset({"event"}))
    if field == "evt.buffer":
        return FieldExpression("shown_buffer(S[c_buffer[i]])", frozenset({"event"}))
    if argument is None and field in ANCESTRY and field not in _OWN:
        what = re.sub(r"\bq\b", "a", ANCESTRY[field])
        expression = f"joined_line({what} for a in ancestors(P, q))"
        return FieldExpression(expression, frozenset({"process"}))
    return value_expression(field, argument)


Reader = Callable[[int], Value]


@cache
def _reader_factory(expression: str) -> Callable[[EventBatch], Reader]:
    body = [
        "    def read(i, n=None):",
        "        q = P[c_process[i]]",
        "        n = c_fd_name[i] if n is None else n",
        f"        return {expression}",
        "    return read",
    ]
    source = "\n".join(["def make(B):", *prelude(body), *body])
    factory: Callable[[EventBatch], Reader] = execute(source, {}, "<field>")["make"]
    return factory


def reader(batch: EventBatch, field: str, argument: str | None = None) -> Callable[..., Value]:
    """Return a function from an event's index to the field's value as output prints it."""
    found = output_expression(field, argument)
    if found is None:
        return lambda _index, _name=None: None
    return _reader_factory(found.expression)(batch)


def extract(batch: EventBatch, i: int, field: str, argument: str | None = None) -> Value:
    """Return one field of one event as output prints it; None if it is missing.

    The field may include the argument. Raises KeyError if there is no such field.
    """
    if argument is None:
        found: tuple[FieldSpec, str | None] | None = resolve_field(field)
        if found is None:
            raise KeyError(field)
        field, argument = found[0].name, found[1]
    return reader(batch, field, argument)(i)


def is_filled(field: str) -> bool:
    """Return whether event batches can have a field; other fields are always missing."""
    if field in PLAIN or field in ANCESTRY or field in BOTH_ENDS:
        return True
    return with_argument(field, "0") is not None
