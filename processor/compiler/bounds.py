"""Necessary conditions: what must hold of one part of an event for a rule to be able to match.

A condition is bounded from above by what it says of a single source, the file's name for example, with
all else taken as possible: A and B <= A; A or B <= A or B; not A >= ... with the bounds swapped. The
bound of a distinct value is found once and kept, so that most events are ruled out by three look-ups.
"""

from collections.abc import Callable
from dataclasses import replace

from processor.compiler.codegen import Emitter, Expression
from processor.compiler.recursion import EXPRESSION_DEPTH
from processor.compiler.values.types import Shape, side_shape
from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not, Or, ValueList

Chooser = Callable[[Check], tuple[str, str] | None]
"""Gives a check's upper and lower bound over one source as expressions, or None where it says nothing of it."""

TRUE, FALSE = "True", "False"


def upper_bound(node: Node, choose: Chooser) -> str:
    """Write what must hold of one source for a condition to be able to hold."""
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
    """Access to one value under a fixed expression; other fields are not to be had."""

    def __init__(self, text: str, *, bit_of: Callable[[Shape], int] | None = None) -> None:
        self.text = text
        self.bit_of = bit_of

    def field(self, shape: Shape) -> Expression:
        bit = self.bit_of(shape) if self.bit_of is not None else 0
        return Expression(self.text, frozenset(), bit=bit)


def _is_plain(node: Check) -> bool:
    return isinstance(node.left, Field) and (node.right is None or isinstance(node.right, Literal | ValueList))


def over_name(emitter: Emitter) -> Chooser:
    """Bounds over the file's name, as ``s``; its directory and last part count too.

    A directory is the name itself where the descriptor is an open directory, so both are possible.
    """

    def choose(node: Check) -> tuple[str, str] | None:
        if not _is_plain(node) or not isinstance(node.left, Field):
            return None
        field = node.left.name
        if field == "fd.name":
            text = replace(emitter, access=_Given("s")).check(node).text
            return text, text
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
    """Bounds over one text field without argument, as ``s``."""

    def choose(node: Check) -> tuple[str, str] | None:
        if not _is_plain(node) or not isinstance(node.left, Field) or node.left.name != name or node.left.argument:
            return None
        text = replace(emitter, access=_Given("s")).check(node).text
        return text, text

    return choose


def over_bits(emitter: Emitter, bit_of: Callable[[Shape], int]) -> Chooser:
    """Bounds over the yes-or-no facts of an event, as ``bits``."""
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
    """Bounds for a process of the host, where container.id, name and type say ``host`` and the rest is missing."""

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
    """Bounds for a process in a container, of which only is known that its id is not ``host``."""

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
