"""Necessary conditions: what must hold for one part of an event before a rule can match.

A condition is bounded from above by its checks on a single source, such as the file name, with all other
checks assumed possible: A and B <= A; A or B <= A or B; not A swaps the bounds. The bound of each
distinct value is computed once and cached, so that three lookups exclude most events.
"""

from collections.abc import Callable
from dataclasses import replace

from processor.compiler.codegen import Emitter, Expression
from processor.compiler.recursion import EXPRESSION_DEPTH
from processor.compiler.values.types import Shape, side_shape
from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not, Or, Transformer, ValueList

Chooser = Callable[[Check], tuple[str, str] | None]
"""Returns a check's upper and lower bound over one source as expressions; None if it does not involve the source."""

TRUE, FALSE = "True", "False"
_TEXT_TRANSFORMERS = frozenset({"tolower", "toupper", "basename"})


def upper_bound(node: Node, choose: Chooser) -> str:
    """Return the expression over one source that holds whenever the condition can hold."""
    return _bound(node, choose, upper=True)


def _bound(node: Node, choose: Chooser, *, upper: bool, depth: int = 0) -> str:
    if depth == EXPRESSION_DEPTH:
        return TRUE if upper else FALSE
    if isinstance(node, Check):
        found = choose(node)
        if found is None:
            return TRUE if upper else FALSE
        return found[0] if upper else found[1]
    if isinstance(node, Macro):
        return _bound(node.body, choose, upper=upper, depth=depth)
    if isinstance(node, Not):
        inner = _bound(node.child, choose, upper=not upper, depth=depth + 1)
        return {TRUE: FALSE, FALSE: TRUE}.get(inner, f"(not {inner})")
    if isinstance(node, And | Or):
        ends, passes, word = (FALSE, TRUE, " and ") if isinstance(node, And) else (TRUE, FALSE, " or ")
        parts: list[str] = []
        for child in node.children:
            part = _bound(child, choose, upper=upper, depth=depth + 1)
            if part == ends:
                return ends
            if part != passes and part not in parts:
                parts.append(part)
        return passes if not parts else parts[0] if len(parts) == 1 else f"({word.join(parts)})"
    return TRUE if upper else FALSE


class _Given:
    """Accesses one value through a fixed expression; other fields are unavailable."""

    def __init__(self, text: str, *, bit_of: Callable[[Shape], int] | None = None) -> None:
        self.text = text
        self.bit_of = bit_of

    def field(self, shape: Shape) -> Expression:
        bit = self.bit_of(shape) if self.bit_of is not None else 0
        return Expression(self.text, frozenset(), bit=bit)


def _is_plain(node: Check) -> bool:
    return isinstance(node.left, Field) and _has_values(node)


def _has_values(node: Check) -> bool:
    return node.right is None or isinstance(node.right, Literal | ValueList)


def _is_of(field: str, side: Field | Transformer) -> bool:
    """Return whether a side is a field without an argument, or its text with another case or without folders."""
    if isinstance(side, Field):
        return side.name == field and side.argument is None
    inner = side.arguments[0] if side.name in _TEXT_TRANSFORMERS else None
    return isinstance(inner, Field | Transformer) and _is_of(field, inner)


def over_name(emitter: Emitter) -> Chooser:
    """Return bounds over the file name, as ``s``, including its directory and last component.

    The directory of an open directory is the name itself, so both forms are possible.
    """

    def choose(node: Check) -> tuple[str, str] | None:
        if _has_values(node) and _is_of("fd.name", node.left):
            text = replace(emitter, access=_Given("s")).check(node).text
            return text, text
        if not _is_plain(node) or not isinstance(node.left, Field):
            return None
        field = node.left.name
        if field == "fd.directory":
            as_file = replace(emitter, access=_Given("(directory_part(s) if s is not None else None)")).check(node)
            as_directory = replace(emitter, access=_Given("s")).check(node)
            return f"({as_file.text} or {as_directory.text})", FALSE
        if field == "fd.filename":
            text = replace(emitter, access=_Given("(file_part(s) if s is not None else None)")).check(node).text
            return text, FALSE
        return None

    return choose


def over_field(emitter: Emitter, name: str) -> Chooser:
    """Return bounds over one text field without an argument, as ``s``."""

    def choose(node: Check) -> tuple[str, str] | None:
        if not _has_values(node) or not _is_of(name, node.left):
            return None
        text = replace(emitter, access=_Given("s")).check(node).text
        return text, text

    return choose


def over_bits(emitter: Emitter, bit_of: Callable[[Shape], int]) -> Chooser:
    """Return bounds over the boolean columns of an event, as ``bits``."""
    on_bits = replace(emitter, access=_Given("", bit_of=bit_of))

    def choose(node: Check) -> tuple[str, str] | None:
        if not _is_plain(node) or not isinstance(node.left, Field):
            return None
        code = emitter.access.field(side_shape(node.left))
        if not code.bit:
            return None
        text = on_bits.check(node).text.replace("c_bits[i]", "bits")
        return text, text

    return choose


_HOST = {"container.id": "host", "container.name": "host", "container.type": "host"}


def over_host(emitter: Emitter) -> Chooser:
    """Return bounds for host processes: container.id, name and type are ``host``, other fields are missing."""

    def choose(node: Check) -> tuple[str, str] | None:
        if not _is_plain(node) or not isinstance(node.left, Field):
            return None
        field = node.left.name
        if not field.startswith(("container.", "k8s.")):
            return None
        value = _HOST.get(field)
        given = emitter.constants.add(value, ("on the host", value))
        text = replace(emitter, access=_Given(given)).check(node).text
        return text, text

    return choose


def over_container(_emitter: Emitter) -> Chooser:
    """Return bounds for containerized processes, assuming only that container.id is not ``host``."""

    def choose(node: Check) -> tuple[str, str] | None:
        if not _is_plain(node) or not isinstance(node.left, Field) or node.left.name != "container.id":
            return None
        if node.right == Literal("host") or node.right == Literal("host", quoted=True):
            if node.operator in ("=", "==") and node.modifier is None:
                return FALSE, FALSE
            if node.operator == "!=" and node.modifier is None:
                return TRUE, TRUE
        return (TRUE, TRUE) if node.operator == "exists" else None

    return choose
