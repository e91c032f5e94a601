"""Fills a rule's output with the values of an event: one text, and the fields it names.

All work that does not depend on the event is done when a rule is loaded. Source: libsinsp
eventformatter.cpp; the fields that follow every text are those that Falco's container plugin suggests.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from processor.compiler.codegen import Constants, Emitter, Expression
from processor.compiler.mapping import converted, field_keys
from processor.compiler.values.transformers import as_text
from processor.compiler.values.types import Shape, side_shape
from processor.fields.extract import FUNCTIONS, output_recipe
from processor.language.ast import Field, Left, Transformer
from processor.output.tokens import Part, Token, output_sides, parse_output, side_text
from schemas.batch import EventBatch
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS

MISSING = "<NA>"
Values = tuple[Any, ...]

SUGGESTED = {
    "container_id": "container.id",
    "container_name": "container.name",
    "container_image_repository": "container.image.repository",
    "container_image_tag": "container.image.tag",
    "k8s_pod_name": "k8s.pod.name",
    "k8s_ns_name": "k8s.ns.name",
}
"""What is said of every event of a system call, after the rule's own text."""

_CONTAINER_INFO = "%container.info"
_TIMES = frozenset({"evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s"})
_WORDS = re.compile(r"\bc_[a-z0-9_]+")


def with_suggested(text: str, *, append: bool = True) -> str:
    """Give the output text that is really used: %container.info spelled out, container and pod at the end.

    Args:
        text: the rule's output.
        append: add the suggested fields that the text does not name itself.
    """
    text = text.replace(_CONTAINER_INFO, "container_id=%container.id container_name=%container.name")
    if not append:
        return text
    named = {part.key for part in parse_output(text) if isinstance(part, Token)}
    extra = [f"{label}=%{field}" for label, field in SUGGESTED.items() if field not in named]
    return " ".join([text, *extra])


@dataclass(frozen=True, slots=True)
class Rendered:
    """An output filled in."""

    text: str
    fields: dict[str, Any]
    """By key; None where missing; times as ns, numbers as numbers."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A compiled output."""

    parts: tuple[Part, ...]
    sides: tuple[Left, ...]
    """What the fields are, each once."""
    _slots: Mapping[str, int]
    _factory: Callable[[EventBatch], Callable[[int, int], Values]]

    def bind(self, batch: EventBatch) -> Callable[[int, int], Rendered]:
        """Give a function from an event's place and the index of its file name to the filled-in output."""
        read = self._factory(batch)
        times = batch.columns["time"]
        return lambda place, name: self._render(read(place, name), times[place])

    def fill(self, event: Mapping[str, Any]) -> Rendered:
        """Fill in the values of an event given as a mapping of fields."""
        return self._render(_values_of(self.sides, event), event.get("evt.rawtime"))

    def _render(self, values: Values, time: int | None) -> Rendered:
        texts = [
            part if isinstance(part, str) else _cut(shown(values[self._slots[part.key]], part.side), part.width)
            for part in self.parts
        ]
        fields = {key: values[slot] for key, slot in self._slots.items()}
        for key in _TIMES & fields.keys():
            fields[key] = time if time is not None else fields[key]
        return Rendered("".join(texts), fields)


def compile_output(text: str) -> OutputFormat:
    """Compile an output text.

    Raises:
        OutputError: it cannot be read.
    """
    parts = parse_output(text)
    sides: dict[str, Left] = {}
    for part in parts:
        if isinstance(part, Token):
            sides.update({side_text(side): side for side in output_sides(part)})
    slots = {key: slot for slot, key in enumerate(sides)}
    return OutputFormat(parts, tuple(sides.values()), slots, values_factory(sides.values()))


def shown(value: Any, side: Left) -> str:
    """Give a value as text, in the field's own format."""
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
    return text[:width].ljust(width) if width else text


class _OutputAccess:
    def field(self, shape: Shape) -> Expression:
        if shape.spec is None:
            raise TypeError("a side without a field has no access")
        found = output_recipe(shape.spec.name, shape.argument)
        return Expression("None", frozenset()) if found is None else Expression(found.expression, found.sources)


def values_factory(sides: Iterable[Left]) -> Callable[[EventBatch], Callable[[int, int], Values]]:
    """Compile a reader of several fields at once: batch, then event's place and name's index, give their values."""
    constants = Constants()
    emitter = Emitter(_OutputAccess(), constants)
    texts = [emitter.side(side).text for side in sides]
    body = "".join(f"{text}, " for text in texts)
    columns = {word for word in _WORDS.findall(body) if word[2:] in EVENT_COLUMNS or word[2:] in ARGUMENT_COLUMNS}
    lines = ["def make(B):", "    S = B.strings; P = B.processes; C = B.containers"]
    lines += [f"    {column} = B.columns[{column[2:]!r}]" for column in sorted(columns | {"c_process"})]
    lines += ["    def read(i, n):", "        q = P[c_process[i]]", f"        return ({body})", "    return read"]
    namespace: dict[str, Any] = {**FUNCTIONS, **constants.values}
    exec(compile("\n".join(lines), "<output>", "exec"), namespace)  # noqa: S102  generated from a checked output
    factory: Callable[[EventBatch], Callable[[int, int], Values]] = namespace["make"]
    return factory


class _MappingAccess:
    def field(self, shape: Shape) -> Expression:
        if shape.spec is None:
            raise TypeError("a side without a field has no access")
        return Expression(f"get({shape.spec.name!r}, {shape.argument!r}, {shape.kind!r})", frozenset())


def _values_of(sides: Iterable[Left], event: Mapping[str, Any]) -> Values:
    def get(name: str, argument: str | None, kind: str) -> Any:
        for key in field_keys(name, argument):
            if event.get(key) is not None:
                return converted(event[key], kind)
        return None

    return tuple(_side_value(side, get) for side in sides)


def _side_value(side: Field | Transformer, get: Callable[[str, str | None, str], Any]) -> Any:
    constants = Constants()
    text = Emitter(_MappingAccess(), constants).side(side).text
    return eval(text, {**constants.values, "get": get})  # noqa: S307  generated from a checked output
