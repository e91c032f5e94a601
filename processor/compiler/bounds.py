"""Necessary conditions: what must be true of one part of an event before a rule can match.

A condition is bounded from above by its checks on a single source, such as the file name, with all other
checks assumed possible: A and B <= A; A or B <= A or B; not A swaps the bounds. The bound of each
distinct value is computed once and cached, so that three lookups exclude most events.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from processor.compiler.codegen import Emitter, Expression
from processor.compiler.operands import Shape, side_shape
from processor.fields.extract import condition_expression
from processor.language.ast import (
    EXPRESSION_DEPTH,
    And,
    Check,
    Field,
    Literal,
    Macro,
    Node,
    Not,
    Or,
    Transformer,
    ValueList,
)
from processor.language.tokens import IN_INDICATORS

Chooser = Callable[[Check], tuple[str, str] | None]
"""Returns a check's upper and lower bound over one source as expressions; None if it does not involve the source."""

TRUE, FALSE = "True", "False"
_CACHE_LIMIT = 100_000
_TEXT_TRANSFORMERS = frozenset({"tolower", "toupper", "basename"})


def upper_bound(node: Node, choose: Chooser) -> str:
    """Return the expression over one source that is true whenever the condition can be true."""
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


def _plain_field(node: Check) -> Field | None:
    """Return the field that a check compares with values, without a transformer."""
    return node.left if isinstance(node.left, Field) and _has_values(node) else None


def _has_values(node: Check) -> bool:
    # What is found in a list of indicators can't be cached: its entries change.
    return node.operator != IN_INDICATORS and (node.right is None or isinstance(node.right, Literal | ValueList))


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
        field = _plain_field(node)
        if field is not None and field.name == "fd.directory":
            as_file = replace(emitter, access=_Given("(directory_part(s) if s is not None else None)")).check(node)
            as_directory = replace(emitter, access=_Given("s")).check(node)
            return f"({as_file.text} or {as_directory.text})", FALSE
        if field is not None and field.name == "fd.filename":
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


def over_bits(emitter: Emitter) -> Chooser:
    """Return bounds over the boolean columns of an event, as ``bits``."""
    on_bits = replace(emitter, access=_Given("", bit_of=_bit_of))

    def choose(node: Check) -> tuple[str, str] | None:
        field = _plain_field(node)
        if field is None or not emitter.access.field(side_shape(field)).bit:
            return None
        text = on_bits.check(node).text.replace("c_bits[i]", "bits")
        return text, text

    return choose


_HOST = {"container.id": "host", "container.name": "host", "container.type": "host"}


def over_host(emitter: Emitter) -> Chooser:
    """Return bounds for host processes: container.id, name and type are ``host``, other fields are missing."""

    def choose(node: Check) -> tuple[str, str] | None:
        field = _plain_field(node)
        if field is None or not field.name.startswith(("container.", "k8s.")):
            return None
        value = _HOST.get(field.name)
        given = emitter.constants.add(value, ("on the host", value))
        text = replace(emitter, access=_Given(given)).check(node).text
        return text, text

    return choose


def over_container(_emitter: Emitter) -> Chooser:
    """Return bounds for containerized processes, assuming only that container.id is not ``host``."""

    def choose(node: Check) -> tuple[str, str] | None:
        field = _plain_field(node)
        if field is None or field.name != "container.id":
            return None
        if node.right == Literal("host") or node.right == Literal("host", quoted=True):
            if node.operator in ("=", "==") and node.modifier is None:
                return FALSE, FALSE
            if node.operator == "!=" and node.modifier is None:
                return TRUE, TRUE
        return (TRUE, TRUE) if node.operator == "exists" else None

    return choose


def _bit_of(shape: Shape) -> int:
    """Return the bit of ``c_bits`` for a boolean field; 0 if there is none."""
    found = condition_expression(shape.spec.name, shape.argument) if shape.spec is not None else None
    return found.bit if found is not None else 0


class Masks:
    """The mask functions of a class, only for the sources that can exclude a rule."""

    def __init__(self, emitter: Emitter, conditions: Sequence[Node]) -> None:
        self.lines: list[str] = []
        self.constants = emitter.constants
        self.bits = self._function("bits_mask", "bits", conditions, over_bits(emitter))
        self.name = self._function("name_mask", "s", conditions, over_name(emitter))
        self.process = self._function("process_mask", "s", conditions, over_field(emitter, "proc.name"))
        self.host = self._constant(conditions, over_host(emitter))
        self.container = self._constant(conditions, over_container(emitter))

    def _function(self, name: str, argument: str, conditions: Sequence[Node], choose: Chooser) -> int:
        """Write a mask function; return a bit for each rule that it may exclude."""
        parts = [upper_bound(condition, choose) for condition in conditions]
        if all(part == TRUE for part in parts):
            return 0
        always = sum(1 << index for index, part in enumerate(parts) if part == TRUE)
        merged: dict[str, int] = {}
        for index, part in enumerate(parts):
            if part not in (TRUE, FALSE):
                merged[part] = merged.get(part, 0) | 1 << index
        # A predicate that raises excludes no rule: it raises again in its own rule, where the others don't suffer.
        everything = (1 << len(conditions)) - 1
        self.lines += [f"{name}_of = {{}}", f"def {name}({argument}):", f"    m = {always}", "    try:"]
        self.lines += [f"        if {part}: m |= {mask}" for part, mask in merged.items()] or ["        pass"]
        self.lines += [
            f"    except Exception: m = {everything}",
            f"    if len({name}_of) > {_CACHE_LIMIT}: {name}_of.clear()",
            f"    {name}_of[{argument}] = m",
            "    return m",
        ]
        return everything ^ always

    def _constant(self, conditions: Sequence[Node], choose: Chooser) -> int:
        mask = 0
        for index, condition in enumerate(conditions):
            text = upper_bound(condition, choose)
            if text == TRUE or (text != FALSE and self._holds(text)):
                mask |= 1 << index
        return mask

    def _holds(self, text: str) -> bool:
        return bool(eval(text, dict(self.constants.values)))  # noqa: S307  an expression over constants

    def excluding(self, everything: int) -> list[str]:
        """Return the function that finds whether the masks exclude all rules, for an event without a kernel's path."""
        lines = ["def excluded(b, n, p, h):", f"    m = {everything}"]
        for has, name, argument in ((self.bits, "bits", "b"), (self.name, "name", "n"), (self.process, "process", "p")):
            if has:
                lines += [
                    f"    x = {name}_mask_of.get({argument})",
                    f"    m &= {name}_mask({argument}) if x is None else x",
                    "    if not m: return True",
                ]
        return [*lines, f"    return not m & ({self.host} if h else {self.container})"]
