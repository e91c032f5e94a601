"""For each field the one expression that gives its value for an event of a batch.

The compiler inlines these expressions into the code of a rule, output formatting and the generic
``extract`` evaluate them as they are: a field cannot mean two things. An expression may use:

- ``i`` the event's place, ``n`` the index of the file name under which the event is judged,
  ``q`` the event's process row;
- ``B`` the batch, ``S`` its strings, ``P`` its processes, ``C`` its containers, ``c_NAME`` its columns;
- the functions of ``schemas.extract_*``, by name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from processor.fields import container, event, process
from processor.fields.expressions import ANCESTRY, BITS, BOTH_ENDS, NAMES, PLAIN, with_argument
from schemas.batch import EventBatch
from schemas.catalogue.fields import FieldSpec, resolve_field
from schemas.text import times

Value = str | int | bool | float | tuple[Any, ...] | None

FUNCTIONS: Mapping[str, Any] = MappingProxyType(
    {
        name: function
        for module in (container, event, process, times)
        for name, function in vars(module).items()
        if callable(function) and getattr(function, "__module__", "") == module.__name__ and not name.startswith("_")
    }
)
"""What expressions may call."""


@dataclass(frozen=True, slots=True)
class FieldExpression:
    """How a field is had: its expression and what the value depends on."""

    expression: str
    sources: frozenset[str]
    """``process``, ``name``, ``event`` or single columns such as ``c_bits``."""
    several: bool = False
    """The expression gives a tuple of values, each of which a condition looks at."""
    subject: str = ""
    """Of several names of one thing: the expression of that thing. `!=` is true where it is there and no name is."""
    bit: int = 0
    """For yes-or-no facts of the event: the bit of ``c_bits`` that says so."""


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _sources(expression: str) -> frozenset[str]:
    words = set(_WORD.findall(expression))
    found = {word for word in words if word.startswith("c_")}
    if "q" in words:
        found.add("process")
    if "n" in words:
        found.add("name")
    if "B" in words and not found & {"c_time"}:
        found.add("event")
    return frozenset(found)


@cache
def recipe(field: str, argument: str | None = None) -> FieldExpression | None:
    """Give how a field is had for one value; None where batches never hold it.

    Args:
        field: a field's name without its argument.
        argument: the argument, or None.
    """
    if argument is None:
        expression = PLAIN.get(field)
        if field in ANCESTRY:
            expression = "q.pid" if field == "proc.apid" else None
    else:
        expression = with_argument(field, argument)
    if expression is None:
        return None
    return FieldExpression(expression, _sources(expression), bit=int(BITS.get(field, 0)))


@cache
def filter_recipe(field: str, argument: str | None = None) -> FieldExpression | None:
    """Give how a condition looks at a field: as ``recipe``, but some have several values at a time.

    A condition on an ancestor's field without a level looks at all ancestors, one on fd.ip, fd.net,
    fd.port or fd.proto at both ends of the connection.
    """
    if argument is None and field in BOTH_ENDS:
        return FieldExpression(BOTH_ENDS[field], _sources(BOTH_ENDS[field]), several=True)
    if argument is None and field in NAMES:
        expression, subject = NAMES[field]
        return FieldExpression(expression, _sources(expression), several=True, subject=subject)
    if argument is None and field in ANCESTRY:
        what = re.sub(r"\bq\b", "a", ANCESTRY[field])
        expression = f"present(*[{what} for a in ancestors(P, q)])"
        return FieldExpression(expression, frozenset({"process"}), several=True)
    return recipe(field, argument)


@cache
def output_recipe(field: str, argument: str | None = None) -> FieldExpression | None:
    """Give how output shows a field: an ancestor's field without a level joins all ancestors with blanks.

    A raw argument that has no value shows as 0 where it is a number, though it does not exist to a condition.
    """
    if field == "evt.rawarg" and argument is not None:
        return FieldExpression(f"shown_raw_argument(B, i, {argument!r})", frozenset({"event"}))
    if argument is None and field in ANCESTRY and field != "proc.apid":
        what = re.sub(r"\bq\b", "a", ANCESTRY[field])
        expression = f"(' '.join(present(*[{what} for a in ancestors(P, q)])) or None)"
        return FieldExpression(expression, frozenset({"process"}))
    return recipe(field, argument)


Reader = Callable[[int], Value]


@cache
def _reader_factory(expression: str) -> Callable[[EventBatch], Reader]:
    columns = sorted({word for word in _WORD.findall(expression) if word.startswith("c_")})
    lines = ["def make(B):", "    S = B.strings; P = B.processes; C = B.containers"]
    lines += [f"    {column} = B.columns[{column[2:]!r}]" for column in columns]
    lines += ["    c_process = B.columns['process']", "    c_fd_name = B.columns['fd_name']"]
    lines += ["    def read(i, n=None):"]
    lines += [
        "        q = P[c_process[i]]",
        "        n = c_fd_name[i] if n is None else n",
        f"        return {expression}",
    ]
    lines += ["    return read"]
    namespace: dict[str, Any] = dict(FUNCTIONS)
    exec("\n".join(lines), namespace)  # noqa: S102  the text is made of this module's expressions
    factory: Callable[[EventBatch], Reader] = namespace["make"]
    return factory


def reader(batch: EventBatch, field: str, argument: str | None = None) -> Callable[..., Value]:
    """Give a function from an event's place to the field's value as output shows it.

    Args:
        batch: the batch to read from.
        field: a field's name without its argument.
        argument: the argument, or None.
    """
    found = output_recipe(field, argument)
    if found is None:
        return _missing
    return _reader_factory(found.expression)(batch)


def _missing(_place: int, _name: int | None = None) -> None:
    return None


def extract(batch: EventBatch, i: int, field: str, argument: str | None = None) -> Value:
    """Give one field of one event as output shows it; None where it is missing.

    Args:
        batch: the batch.
        i: the event's place in it.
        field: the field; its argument may stand in it where ``argument`` is None.
        argument: the argument.

    Raises:
        KeyError: there is no such field.
    """
    if argument is None:
        found: tuple[FieldSpec, str | None] | None = resolve_field(field)
        if found is None:
            raise KeyError(field)
        field, argument = found[0].name, found[1]
    return reader(batch, field, argument)(i)


def is_filled(field: str) -> bool:
    """Tell whether event batches can hold a field at all; the others are always missing."""
    if field in PLAIN or field in ANCESTRY or field in BOTH_ENDS:
        return True
    return with_argument(field, "0") is not None
