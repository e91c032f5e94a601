"""The mapping compiler: evaluates events given as plain mappings of fields to values.

Rule tests, the Python API and comparisons with recorded results use it. Operators and code generation
are the same as for batches; only the access to fields differs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foundation.text import canonical_address
from processor.compiler.codegen import Constants, Emitter, Expression
from processor.compiler.operands import ADDRESS_TYPES, NET_TYPES, NUMBER_TYPES, Shape
from processor.compiler.simplify import simplify
from processor.fields.event import path_field
from processor.fields.extract import condition_expression
from processor.language.ast import EXPRESSION_DEPTH, Ancestor, And, Check, Macro, Node, Not, Or, deep

Event = Mapping[str, Any]

_ENDS = {
    "fd.ip": (("fd.lip", "fd.rip"), ("fd.cip", "fd.sip")),
    "fd.net": (("fd.lip", "fd.rip"), ("fd.cip", "fd.sip"), ("fd.ip",)),
    "fd.port": (("fd.lport", "fd.rport"), ("fd.cport", "fd.sport")),
    "fd.proto": (("fd.lport", "fd.rport"), ("fd.cport", "fd.sport"), ("fd.port",)),
}
_NET_OF = {"fd.cnet": "fd.cip", "fd.snet": "fd.sip", "fd.lnet": "fd.lip", "fd.rnet": "fd.rip"}
_PARENT_OF = {
    "proc.aname": "proc.pname",
    "proc.aexe": "proc.pexe",
    "proc.aexepath": "proc.pexepath",
    "proc.acodepath": "proc.pcodepath",
    "proc.acmdline": "proc.pcmdline",
    "proc.apid": "proc.ppid",
}
_OF_ANCESTOR = {
    **{name.replace(".a", ".", 1): (name, 0) for name in _PARENT_OF},
    **{parent: (name, 1) for name, parent in _PARENT_OF.items()},
}
"""The field of ancestors that a field of an ancestor is, and how many levels above it."""
_MAX_ANCESTORS = 64


@dataclass(frozen=True, slots=True)
class MappingAccess:
    """Accesses fields by lookup in a mapping ``e``."""

    constants: Constants

    def field(self, shape: Shape) -> Expression:
        """Return the expression of a field."""
        spec = shape.field
        found = condition_expression(spec.name, shape.argument)
        several = found is not None and found.several
        reader = _reader(spec.name, shape.argument, shape.kind, several=several, is_list=shape.is_list)
        name = self.constants.add(reader, ("read", spec.name, shape.argument, several))
        return Expression(f"{name}(e)", frozenset({"event"}), several=several)


def field_keys(name: str, argument: str | None) -> tuple[str, ...]:
    """Return the keys under which a mapping may contain a field."""
    if argument is None:
        return (name,)
    return (f"{name}[{argument}]", f"{name}.{argument}")


def is_given(event: Event, name: str, argument: str | None) -> bool:
    """Return whether a mapping has a field, or those that it is read from; a value of None counts."""
    if name == "evt.path" and "evt.type" in event and path_field(event["evt.type"]) in event:
        return True
    if any(key in event for key in field_keys(name, argument)) or _NET_OF.get(name) in event:
        return True
    return argument is None and any(all(key in event for key in keys) for keys in _ENDS.get(name, ()))


def _reader(name: str, argument: str | None, kind: str, *, several: bool, is_list: bool) -> Callable[[Event], Any]:
    keys = field_keys(name, argument)
    if several:
        return lambda event: _many(event, name, kind)
    if is_list:
        return lambda event: _listed(_first(event, keys), kind)
    if name == "evt.path":
        return lambda event: converted(_first(event, (name, path_field(event.get("evt.type")))), kind)
    if name in _NET_OF:
        keys = (*keys, _NET_OF[name])
    return lambda event: converted(_first(event, keys), kind)


def _first(event: Event, keys: Iterable[str]) -> Any:
    for key in keys:
        value = event.get(key)
        if value is not None:
            return value
    return None


def _listed(value: Any, kind: str) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        inner = value[1:-1] if value[:1] == "(" and value[-1:] == ")" else value
        value = inner.split(",") if inner else []
    return tuple(converted(item, kind) for item in value)


def _many(event: Event, name: str, kind: str) -> tuple[Any, ...]:
    value = event.get(name)
    if value is None and name in _ENDS:
        for names in _ENDS[name]:
            found = [event[key] for key in names if event.get(key) is not None]
            if found:
                value = found
                break
    if value is None and name in _PARENT_OF:
        value = _ancestry(event, name)
    if value is None:
        return ()
    items = value if isinstance(value, list | tuple | set | frozenset) else (value,)
    flat = [part for item in items for part in (item if isinstance(item, list | tuple) else (item,))]
    return tuple(converted(item, kind) for item in flat if item is not None)


def _ancestry(event: Event, name: str) -> list[Any]:
    levels = [event.get(f"{name}[{level}]") for level in range(1, _MAX_ANCESTORS)]
    if levels[0] is None:
        levels[0] = event.get(_PARENT_OF[name])
    return [value for value in levels if value is not None]


class _AncestorEvent(Mapping[str, Any]):
    """An event as if an ancestor of its process had made it: only with the fields that events have of ancestors."""

    def __init__(self, event: Event, level: int) -> None:
        self._event = event
        self._level = level

    def __getitem__(self, key: str) -> Any:
        name, _, argument = key.removesuffix("]").partition("[")
        of_ancestor, above = (name, int(argument)) if argument.isdecimal() else _OF_ANCESTOR.get(key, ("", 0))
        if of_ancestor not in _PARENT_OF:
            raise KeyError(key)
        level = self._level + above
        value = self._event.get(f"{of_ancestor}[{level}]")
        if value is None and level == 1:
            value = self._event.get(_PARENT_OF[of_ancestor])
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return (key for key in _OF_ANCESTOR if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def ancestor_events(event: Event) -> Iterator[Event]:
    """Yield a mapping for each ancestor of which an event has fields, the parent first."""
    above = (_AncestorEvent(event, level) for level in range(1, _MAX_ANCESTORS))
    return (each for each in above if each)


def converted(value: Any, kind: str) -> Any:
    """Return a value in its type's internal form: numbers as int, addresses in canonical form.

    Numbers and bools may be given as text, and texts as bytes.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if kind == "BOOL":
        return value in (True, "true", 1, "1")
    if kind in NUMBER_TYPES:
        return _number(value)
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if kind in ADDRESS_TYPES or kind in NET_TYPES:
        return canonical_address(text) or text
    return text


def _number(value: Any) -> int | None:
    try:
        return int(value, 0) if isinstance(value, str) else int(value)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ItemAccess:
    """Accesses fields by subscription of a mapping ``e`` whose values have their types already."""

    def field(self, shape: Shape) -> Expression:
        """Return the expression of a field."""
        key = shape.field.name if shape.argument is None else f"{shape.field.name}[{shape.argument}]"
        return Expression(f"e[{key!r}]", frozenset({"event"}))


def compile_items(condition: Node) -> Callable[[Event], bool]:
    """Compile a condition into a function of a mapping that has, or computes, every field that the condition reads.

    Its macros are resolved, and it has no errors.
    """
    with deep():
        constants = Constants()
        return _compiled(_expression(condition, Emitter(ItemAccess(), constants), 0), constants)


def compile_mapping(condition: Node) -> Callable[[Event], bool]:
    """Compile a condition, resolved and without errors, into a function that evaluates events given as mappings.

    A missing key and None both mean that the value is missing.
    """
    with deep():
        constants = Constants()
        folded = simplify(condition)
        if isinstance(folded, bool):
            return lambda _event: folded
        return _compiled(_expression(folded, Emitter(MappingAccess(constants), constants), 0), constants)


def _compiled(text: str, constants: Constants) -> Callable[[Event], bool]:
    code = compile(f"lambda e: bool({text})", "<condition>", "eval")
    evaluate: Callable[[Event], bool] = eval(code, constants.values)  # noqa: S307  generated from a checked tree
    return evaluate


def _expression(node: Node, emitter: Emitter, depth: int) -> str:
    if depth == EXPRESSION_DEPTH:
        part = _compiled(_expression(node, emitter, 0), emitter.constants)
        return f"{emitter.constants.add(part)}(e)"
    if isinstance(node, Check):
        return emitter.check(node).text
    if isinstance(node, Macro):
        return _expression(node.body, emitter, depth)
    if isinstance(node, Not):
        return f"(not {_expression(node.child, emitter, depth + 1)})"
    if isinstance(node, Ancestor):
        holds = _compiled(_expression(node.condition, emitter, 0), emitter.constants)
        return f"{emitter.constants.add(lambda event: any(map(holds, ancestor_events(event))))}(e)"
    if isinstance(node, And | Or):
        if not node.children:
            return str(isinstance(node, And))
        word = " and " if isinstance(node, And) else " or "
        return f"({word.join(_expression(child, emitter, depth + 1) for child in node.children)})"
    raise TypeError(f"macro {node.name} is not resolved")
