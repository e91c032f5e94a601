"""Code generation: checks in, Python expressions out.

One emitter serves both bindings: the columns of a batch, or a mapping of fields. Simple operators are
inlined; the others call a predicate that is stored as a constant.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from processor.compiler import operators, transformers
from processor.compiler.operands import (
    ADDRESS_TYPES,
    NET_TYPES,
    NUMBER_TYPES,
    STRING_TYPES,
    Shape,
    field_shape,
    is_whole,
    parse_literal,
    side_shape,
)
from processor.language.ast import Argument as Side
from processor.language.ast import ArgumentList, Check, Field, FieldValue, Literal, Transformer, indicators_in, literals
from processor.language.tokens import EQUALITY_OPERATORS, IN_INDICATORS

_SAME = ("=", "==")
_INLINE_TEXT = {"contains": "{1} in {0}", "startswith": "{0}.startswith({1})", "endswith": "{0}.endswith({1})"}
_SETS = ("in", "intersects")
INDICATORS = "indicators"
"""The source of what depends on lists of indicators, whose entries change."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A Python expression and the sources that its value depends on."""

    text: str
    sources: frozenset[str]
    several: bool = False
    """True if it returns a tuple of values, any of which may match."""
    subject: str = ""
    """If the values are several names of one thing: the expression of that thing, which `!=` needs."""
    bit: int = 0
    """If nonzero, the expression tests this bit of ``c_bits`` and is never missing."""


class Access(Protocol):
    """Generates the expression that reads a field."""

    def field(self, shape: Shape) -> Expression:
        """Return the expression of a field as conditions read it."""


@dataclass(slots=True)
class Constants:
    """The objects that generated code refers to by name: predicates, sets, functions."""

    values: dict[str, Any] = field(default_factory=dict)
    _names: dict[Any, str] = field(default_factory=dict)

    def add(self, value: Any, key: Any = None) -> str:
        """Store a value and return its name; values with the same key share one name."""
        if key is not None and key in self._names:
            return self._names[key]
        name = f"K{len(self.values)}"
        self.values[name] = value
        if key is not None:
            self._names[key] = name
        return name


@dataclass(slots=True)
class Emitter:
    """Generates expressions for checks, over one kind of access."""

    access: Access
    constants: Constants
    cached: Mapping[Transformer, Expression] = field(default_factory=dict)
    """Expressions of transformers whose values are stored."""

    def check(self, node: Check) -> Expression:
        """Return an expression that is truthy if and only if a check, which has no errors, is true."""
        shape = side_shape(node.left)
        left = self.side(node.left)
        if node.operator == "exists":
            if left.bit:
                return Expression("True", frozenset())
            many = left.several or (shape.is_list and isinstance(node.left, Field))
            return Expression(f"bool({left.text})" if many else f"({left.text} is not None)", left.sources)
        if isinstance(node.left, Field) and node.left.name == "evt.around":
            return self._around(node)
        if isinstance(node.right, FieldValue | Transformer):
            return self._fields(node, left, shape, node.right)
        if node.operator == IN_INDICATORS:
            return self._indicators(node, left, shape)
        if shape.is_list:
            return self._list(node, left, shape)
        if left.several:
            return self._several(node, left, shape)
        return Expression(self._scalar(node, left, shape), left.sources)

    def _scalar(self, node: Check, left: Expression, shape: Shape) -> str:
        operator, kind = node.operator, shape.kind
        texts = [item.text for item in literals(node)]
        if node.modifier is None:
            if kind == "BOOL":
                return self._bool(operator, left, texts)
            if operator in (*_SAME, *_SETS) and kind not in NET_TYPES:
                return self._membership(left, kind, texts)
            if operator == "!=" and kind not in NET_TYPES:
                return f"((t := {left.text}) is not None and t != {parse_literal(texts[0], kind)!r})"
            if operator in operators.ORDER_OPERATORS and kind in NUMBER_TYPES:
                return f"((t := {left.text}) is not None and t {operator} {parse_literal(texts[0], kind)!r})"
        if operator in _INLINE_TEXT and kind in STRING_TYPES and texts and all(map(is_whole, texts)):
            test = _inline_text(operator, texts, node.modifier)
            if test is not None:
                return f"((t := {left.text}) is not None and {test})"
        return f"((t := {left.text}) is not None and {self._predicate(node, kind, texts)}(t))"

    def _predicate(self, node: Check, kind: str, texts: list[str]) -> str:
        key = (node.operator, kind, tuple(texts), node.modifier)
        return self.constants.add(operators.predicate(node.operator, kind, texts, node.modifier), key)

    def _bool(self, operator: str, left: Expression, texts: list[str]) -> str:
        accepted = {text == "true" for text in texts}
        if operator == "!=":
            accepted = {value is False for value in accepted}
        if left.bit:
            test = f"c_bits[i] & {left.bit}"
            return "True" if len(accepted) > 1 else f"({test})" if True in accepted else f"(not {test})"
        if len(accepted) > 1:
            return f"({left.text} is not None)"
        return f"({left.text} is {next(iter(accepted))})"

    def _membership(self, left: Expression, kind: str, texts: list[str]) -> str:
        values = frozenset(parse_literal(text, kind) for text in texts)
        if not values:
            return "False"
        if len(values) == 1:
            return f"({left.text} == {next(iter(values))!r})"
        return f"({left.text} in {self.constants.add(values, ('set', values))})"

    def _several(self, node: Check, left: Expression, shape: Shape) -> Expression:
        texts = [item.text for item in literals(node)]
        if left.subject and node.operator in EQUALITY_OPERATORS:
            # As in Falco, these compare the address with those of the rule's names.
            left = replace(left, text=f"names_of(B, {left.subject})")
        both_ends = shape.kind in ADDRESS_TYPES or shape.kind in NET_TYPES or shape.kind == "PORT"
        if node.modifier is not None:
            predicates = [operators.predicate(node.operator, shape.kind, [text]) for text in texts]
            quantify = all if both_ends and node.operator == "!=" else any
            combined = operators.counted([_over_values(each, quantify) for each in predicates], node.modifier)
            return Expression(f"{self.constants.add(combined)}({left.text})", left.sources)
        name = self._predicate(node, shape.kind, texts)
        if left.subject and node.operator == "!=":
            return Expression(f"(({left.subject}) is not None and all(map({name}, {left.text})))", left.sources)
        if both_ends and node.operator == "!=":
            return Expression(f"(bool(t := {left.text}) and all(map({name}, t)))", left.sources)
        return Expression(f"any(map({name}, {left.text}))", left.sources)

    def _list(self, node: Check, left: Expression, shape: Shape) -> Expression:
        values = frozenset(parse_literal(item.text, shape.kind) for item in literals(node))
        name = self.constants.add(values, ("set", values))
        # An empty list is a field without a value, but a value of a transformer.
        given = f"bool(t := {left.text})" if isinstance(node.left, Field) else f"(t := {left.text}) is not None"
        test = f"{name}.issuperset(t)" if node.operator == "in" else f"not {name}.isdisjoint(t)"
        return Expression(f"({given} and {test})", left.sources)

    def _indicators(self, node: Check, left: Expression, shape: Shape) -> Expression:
        # A bound method: the entries of a list change without the code.
        tests = [f"{self.constants.add(each.holds, ('holds', id(each)))}" for each in indicators_in(node)]
        several = left.several or shape.is_list
        found = " or ".join(f"any(map({test}, t))" if several else f"{test}(t)" for test in tests)
        given = f"(t := {left.text})" if several else f"(t := {left.text}) is not None"
        return Expression(f"({given} and ({found}))", left.sources | {INDICATORS})

    def _fields(self, node: Check, left: Expression, shape: Shape, right: FieldValue | Transformer) -> Expression:
        other = self.side(right)
        right_shape = side_shape(right)
        sources = left.sources | other.sources
        guard = f"((t := {left.text}) is not None and (u := {other.text}) is not None and "
        if node.operator in _SETS:
            pool = "u" if right_shape.is_list or other.several else "(u,)"
            if shape.is_list or left.several:
                whole = node.operator == "in" and shape.is_list
                test = f"frozenset({pool}).issuperset(t)" if whole else f"not set(t).isdisjoint({pool})"
                return Expression(f"{guard}bool(t) and {test})", sources)
            return Expression(f"{guard}t in {pool})", sources)
        compare = self.constants.add(operators.compare(node.operator), ("compare", node.operator))
        if not left.several and not other.several:
            return Expression(f"{guard}{compare}(t, u))", sources)
        own, others = "t" if left.several else "(t,)", "u" if other.several else "(u,)"
        # Any value may match; unlike all that there are, of which there is at least one.
        given, quantify = ("bool(u) and ", "all") if other.several and node.operator == "!=" else ("", "any")
        return Expression(f"{guard}{given}{quantify}({compare}(v, w) for v in {own} for w in {others}))", sources)

    def _around(self, node: Check) -> Expression:
        shape = field_shape(node.left) if isinstance(node.left, Field) else Shape("UINT64")
        centre, delta = int(shape.argument or 0), parse_literal(literals(node)[0].text, "UINT64")
        time = self.access.field(Shape("ABSTIME", spec=field_shape(Field("evt.rawtime")).spec))
        test = f"abs(t - {centre}) <= {delta!r} * 1000000"
        return Expression(f"((t := {time.text}) is not None and {test})", time.sources)

    def side(self, side: Side | FieldValue) -> Expression:
        """Return the expression of the value of a field, literal or transformer."""
        if isinstance(side, FieldValue):
            return self.side(side.field)
        if isinstance(side, Field):
            return self.access.field(field_shape(side))
        if isinstance(side, Literal):
            return Expression(repr(side.text), frozenset())
        if isinstance(side, ArgumentList):
            parts = [self.side(item) for item in side.items]
            inner = "".join(f"{part.text}, " for part in parts)
            return Expression(f"({inner})", frozenset().union(*(part.sources for part in parts)))
        return self._transformer(side)

    def _transformer(self, side: Transformer) -> Expression:
        if side in self.cached:
            return self.cached[side]
        parts = [self.side(argument) for argument in side.arguments]
        sources: frozenset[str] = frozenset().union(*(part.sources for part in parts))
        texts = [part.text for part in parts]
        name = side.name
        if name == "b64" and side_shape(side).kind == "BYTEBUF":
            name = "b64_bytes"
        if name == "getopt":
            words = side.arguments[0]
            texts[0] = texts[0] if isinstance(words, ArgumentList) else f"({texts[0]},)"
            if side.argument is not None:
                name = "getopt_value"
                texts.append(repr(side.argument))
        if name == "join" and not isinstance(side.arguments[1], ArgumentList):
            texts[1] = f"({texts[1]},)"
        function = self.constants.add(transformers.FUNCTIONS[name], ("transformer", name))
        return Expression(f"{function}({', '.join(texts)})", sources)


def _inline_text(operator: str, texts: list[str], modifier: str | None) -> str | None:
    """Return the test of a text ``t`` against the beginning, the end or a part; None for `oneof`."""
    if modifier == "anyof" and operator != "contains":
        return _INLINE_TEXT[operator].format("t", repr(tuple(texts)))
    words = {None: "", "anyof": " or ", "allof": " and "}
    if modifier not in words:
        return None
    return f"({words[modifier].join(_INLINE_TEXT[operator].format('t', repr(text)) for text in texts)})"


def _over_values(predicate: operators.Predicate, quantify: Callable[[Iterable[object]], bool]) -> operators.Predicate:
    return lambda values: bool(values) and quantify(map(predicate, values))
