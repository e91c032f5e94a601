"""The compiler of all rules: for a batch one function per class of event types, for a JSON document one per rule.

Event types for which the same rules fold to the same conditions share a class. A class's function
first ANDs masks that have one bit per rule. Each mask is cached by a value that repeats: the event's
bits, the file name, the process. Only the rules whose bits remain are evaluated.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from processor.compiler import bounds
from processor.compiler.codegen import Constants, Emitter, Expression
from processor.compiler.kinds import KINDS
from processor.compiler.mapping import compile_items
from processor.compiler.operands import Shape
from processor.compiler.operators import SLOW_OPERATORS
from processor.compiler.simplify import by_type
from processor.fields import extract
from processor.fields.extract import condition_expression
from processor.language.ast import (
    EXPRESSION_DEPTH,
    Ancestor,
    And,
    Check,
    Field,
    Macro,
    Node,
    Not,
    Or,
    Transformer,
    checks,
    deep,
    walk,
)
from processor.language.event_types import ALL_EVENT_TYPES
from schemas.batch import EventBatch
from schemas.catalog.fields import SYSCALL

Hit = tuple[int, int]
"""The rule's index, and the string index of the file name under which the event matched."""

Match = Callable[[int], Sequence[Hit]]
Fault = Callable[[int, BaseException], None]
Excludes = Callable[[int, str | None, str | None, bool], bool]
"""Returns whether no rule can match an event, by its bits, file name, process name, and whether its process is on the
host."""

_SHARED_MACRO_CHECKS = 3
_CACHED_USES = 2
_OF_KIND = frozenset({"process", "c_bits", "c_res"})
"""The sources of what is equal for all calls of processes of a kind that have equal bits and results."""
_MANY_OF_KIND = 8
"""So many rules take longer than finding out the kind of a process."""
_MANY_OF_CALL = 2
"""So many rules take longer than finding out whether a call is like an earlier one."""
_OF_EACH = frozenset({"name", "event", "c_time", "c_thread", "c_vthread", "c_cpu", "c_repeats", "c_local_port"})
"""The sources of what differs between calls that are otherwise alike, such as connections to one server."""
_MAX_FOUND = 1024


class BatchAccess:
    """Accesses fields through the columns of a batch."""

    def field(self, shape: Shape) -> Expression:
        """Return the expression of a field; None for a field that batches never have."""
        found = condition_expression(shape.field.name, shape.argument)
        if found is None:
            return Expression("()" if shape.is_list else "None", frozenset())
        return Expression(found.expression, found.sources, several=found.several, subject=found.subject, bit=found.bit)


@dataclass(frozen=True, slots=True)
class TypeClass:
    """Event types for which the same rules remain with the same conditions."""

    types: frozenset[str]
    rules: tuple[tuple[int, Node], ...]
    """Each rule's index and its condition with evt.type folded; a rule that is always true has ``And(())``."""


ALWAYS = And(())


def classes(conditions: Sequence[Node], evaluated: Sequence[int]) -> list[TypeClass]:
    """Partition the event types into classes, for conditions that are resolved and without errors.

    Args:
        conditions: one per rule.
        evaluated: indexes of those on system calls.
    """
    of_type: dict[str, list[tuple[int, Node]]] = {}
    for at, event_type, folded in by_type([conditions[index] for index in evaluated], ALL_EVENT_TYPES):
        node = ALWAYS if isinstance(folded, bool) else folded
        of_type.setdefault(event_type, []).append((evaluated[at], node))
    groups: dict[tuple[tuple[int, Node], ...], set[str]] = {}
    for event_type, rules in of_type.items():
        groups.setdefault(tuple(rules), set()).add(event_type)
    return [TypeClass(frozenset(types), rules) for rules, types in groups.items()]


@dataclass(slots=True)
class _Writer:
    """Generates the functions of one class."""

    emitter: Emitter
    lines: list[str] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    macros: dict[Node, str] = field(default_factory=dict)
    memos: list[str] = field(default_factory=list)
    shared: frozenset[Node] = frozenset()

    parts: int = 0

    def cache_transformers(self, rules: Sequence[tuple[int, Node]]) -> None:
        """Compute what several comparisons make of a process, such as its command line in lower case, once for it."""
        uses = Counter(
            check.left for _, condition in rules for check in checks(condition) if isinstance(check.left, Transformer)
        )
        for transformer, count in uses.items():
            code = self.emitter.side(transformer)
            if count < _CACHED_USES or code.sources != {"process"}:
                continue
            name = f"t{len(self.emitter.cached)}"
            self.memos.append(f"{name}_of")
            self.lines += [f"    def {name}(p, q):", f"        v = {name}_of[p] = {code.text}", "        return v"]
            cached = Expression(f"({name}_of.get(p) or {name}(p, q))", code.sources)
            self.emitter = replace(self.emitter, cached={**self.emitter.cached, transformer: cached})

    def expression(self, node: Node, depth: int = 0) -> tuple[str, frozenset[str]]:
        if depth == EXPRESSION_DEPTH:
            text, sources = self.expression(node)
            name = f"d{self.parts}"
            self.parts += 1
            self.lines += [f"    def {name}(i, p, q, n): return {text}"]
            return f"{name}(i, p, q, n)", sources
        if isinstance(node, Check):
            code = self.emitter.check(node)
            self.sources |= code.sources
            return code.text, code.sources
        if isinstance(node, Macro):
            return self._macro(node, depth)
        if isinstance(node, Not):
            text, sources = self.expression(node.child, depth + 1)
            return f"(not {text})", sources
        if isinstance(node, Ancestor):
            return self._ancestor(node)
        if isinstance(node, And | Or):
            if not node.children:
                return "True", frozenset()
            parts = [self.expression(child, depth + 1) for child in sorted(node.children, key=_cost)]
            word = " and " if isinstance(node, And) else " or "
            return f"({word.join(part[0] for part in parts)})", frozenset().union(*(part[1] for part in parts))
        raise TypeError(f"macro {node.name} is not resolved")

    def _ancestor(self, node: Ancestor) -> tuple[str, frozenset[str]]:
        """Find once for each process whether the condition is true of it, and whether it is of one of its ancestors."""
        text, sources = self.expression(node.condition)
        name = self.macros.get(node)
        if name is None:
            name = self.macros[node] = f"m{len(self.macros)}"
            for function, value in (
                (f"{name}a", f"bool({text})"),
                (name, f"any_ancestor(P, p, lambda a: {name}a(i, a, P[a], n), {name}_of)"),
            ):
                self.memos.append(f"{function}_of")
                self.lines += [
                    f"    def {function}(i, p, q, n):",
                    f"        v = {function}_of.get(p)",
                    f"        if v is None: v = {function}_of[p] = {value}",
                    "        return v",
                ]
        return f"{name}(i, p, q, n)", sources | {"process"}

    def _macro(self, node: Macro, depth: int) -> tuple[str, frozenset[str]]:
        if node.body not in self.shared:
            return self.expression(node.body, depth)
        text, sources = self.expression(node.body)
        name = self.macros.get(node.body)
        if name is None:
            name = self.macros[node.body] = f"m{len(self.macros)}"
            if sources <= extract.OF_PROCESS:
                self.memos.append(f"{name}_of")
                self.lines += [
                    f"    def {name}(i, p, q, n):",
                    f"        v = {name}_of.get(p)",
                    f"        if v is None: v = {name}_of[p] = bool({text})",
                    "        return v",
                ]
            else:
                self.lines += [f"    def {name}(i, p, q, n): return {text}"]
        return f"{name}(i, p, q, n)", sources


def _cost(node: Node) -> int:
    return sum(_check_cost(each) if isinstance(each, Check) else 5 * isinstance(each, Ancestor) for each in walk(node))


def _check_cost(check: Check) -> int:
    if not isinstance(check.left, Field):
        return 20
    slow = check.operator in SLOW_OPERATORS
    name = check.left.name
    many = name.startswith(("proc.a", "proc.s", "proc.vpgid.", "proc.pgid.", "proc.cmdline", "evt.arg", "evt.raw"))
    return 1 + 10 * slow + 5 * many


def _shared_macros(rules: Sequence[tuple[int, Node]]) -> frozenset[Node]:
    uses = Counter(node.body for _, condition in rules for node in walk(condition) if isinstance(node, Macro))
    return frozenset(
        body for body, count in uses.items() if count > 1 and sum(1 for _ in checks(body)) >= _SHARED_MACRO_CHECKS
    )


@dataclass(frozen=True, slots=True)
class _Generated:
    source: str
    bind: Callable[[EventBatch, Fault], Match]
    excludes: Excludes


class ClassMatcher:
    """The rules of one class; ``bind`` returns the function for a batch.

    They are compiled when they are first needed: a host has events of a few classes, and the others take most of the
    time and memory.
    """

    def __init__(self, group: TypeClass) -> None:
        """Store the rules."""
        self.types = group.types
        self.rules = tuple(index for index, _ in group.rules)
        self._group: TypeClass | None = group
        self._lock = threading.Lock()
        self._made: _Generated | None = None

    @property
    def is_compiled(self) -> bool:
        """True if compiling the rules is not part of the next use."""
        return self._made is not None

    @property
    def source(self) -> str:
        """The generated code."""
        return self._compiled().source

    @property
    def excludes(self) -> Excludes:
        """Whether no rule can match an event."""
        return self._compiled().excludes

    def bind(self, batch: EventBatch, fault: Fault) -> Match:
        """Return the function for a batch. fault: receives the errors of rules."""
        return self._compiled().bind(batch, fault)

    def _compiled(self) -> _Generated:
        if self._made is not None:
            return self._made
        with self._lock:
            if self._group is not None:
                with deep():
                    self._made = _generate(self._group)
                self._group = None
            assert self._made is not None  # noqa: S101  made once, under the lock
            return self._made


def _generate(group: TypeClass) -> _Generated:
    constants = Constants()
    emitter = Emitter(BatchAccess(), constants)
    writer = _Writer(emitter, shared=_shared_macros(group.rules))
    writer.cache_transformers(group.rules)
    sources: list[frozenset[str]] = []
    bodies: list[str] = []
    for index, (_, condition) in enumerate(group.rules):
        text, read = writer.expression(condition)
        sources.append(read)
        bodies.append(f"    def r{index}(i, p, q, n): return {text}")
    masks = bounds.Masks(emitter, [condition for _, condition in group.rules])
    everything = (1 << len(group.rules)) - 1
    by_name = sum(("name" in each) << index for index, each in enumerate(sources))
    memo = _memo(group, sources, masks)
    body = [*writer.lines, *bodies]
    body += [f"    R = ({', '.join(f'r{index}' for index in range(len(bodies)))},)"]
    body += _match_lines(masks, everything, by_name, memo)
    lines = [*masks.lines, *masks.excluding(everything), "found_of = {}", "def bind(B, fault):"]
    lines += extract.prelude(body)
    lines += [f"    {each} = {{}}" for each in writer.memos]
    lines += ["    N = [None] * len(S); Q = [None] * len(P)"]
    if memo.is_of_call:
        lines += ["    found_of = {}"]
    elif memo.rules:
        lines += ["    Z = [None] * len(P); kind_of = KINDS.of(B)"]
    source = "\n".join([*lines, *body])
    rules = tuple(index for index, _ in group.rules)
    names = extract.execute(source, {**constants.values, "RULES": rules, "NONE": (), "KINDS": KINDS}, "<rules>")
    return _Generated(source, names["bind"], names["excluded"])


@dataclass(frozen=True, slots=True)
class _Memo:
    """The rules that are left out for an event if they were false of one with the same key."""

    rules: int = 0
    """A bit for each."""
    key: tuple[str, ...] = ()
    """Lines that assign the key to `z`."""
    is_of_call: bool = False
    """True if the key is valid for one batch only."""


def _memo(group: TypeClass, sources: Sequence[frozenset[str]], masks: bounds.Masks) -> _Memo:
    """Return the memo of a class, given the sources of each rule: by the kind of process, or by the call."""
    of_kind = sum((each <= _OF_KIND) << index for index, each in enumerate(sources))
    if of_kind.bit_count() >= _MANY_OF_KIND:
        return _Memo(of_kind, ("z = Z[p]", "if z is None: z = Z[p] = kind_of(p)", "z = z, c_bits[i], c_res[i]"))
    of_call = sum((not each & _OF_EACH) << index for index, each in enumerate(sources)) & ~masks.name
    if of_call.bit_count() < max(_MANY_OF_CALL, len(group.rules) / 2):
        return _Memo()
    columns = {each for index, some in enumerate(sources) if of_call >> index & 1 for each in some if each[:2] == "c_"}
    return _Memo(of_call, (f"z = {', '.join(['p', *(f'{each}[i]' for each in sorted(columns))])}",), is_of_call=True)


def _match_lines(masks: bounds.Masks, everything: int, by_name: int, memo: _Memo) -> list[str]:
    lines = ["    def match(i):"]
    pad = "        "
    if masks.bits:
        lines += [
            f"{pad}m = bits_mask_of.get(c_bits[i])",
            f"{pad}if m is None: m = bits_mask(c_bits[i])",
            f"{pad}if not m: return NONE",
        ]
    else:
        lines += [f"{pad}m = {everything}"]
    lines += [f"{pad}n = c_fd_name[i]"]
    if by_name:
        lines += [f"{pad}o = c_fd_realpath[i]", f"{pad}if o == n: o = 0"]
    by_mask = []
    if masks.name:
        by_mask = [
            "x = N[n]",
            "if x is None:",
            "    x = name_mask_of.get(S[n])",
            "    if x is None: x = name_mask(S[n])",
            "    N[n] = x",
            "if o:",
            "    y = N[o]",
            "    if y is None: y = N[o] = name_mask(S[o])",
            "    x |= y",
            "m &= x",
        ]
    if not memo.is_of_call:
        lines += [f"{pad}{line}" for line in [*by_mask, "if not m: return NONE"] if by_mask]
    lines += [f"{pad}p = c_process[i]"]
    if masks.process or masks.host != everything or masks.container != everything:
        process = "process_mask(P[p].name)" if masks.process else str(everything)
        lines += [
            f"{pad}x = Q[p]",
            f"{pad}if x is None:",
            f"{pad}    x = {'process_mask_of.get(P[p].name)' if masks.process else everything}",
            f"{pad}    if x is None: x = {process}",
            f"{pad}    x &= {masks.host} if P[p].container < 0 else {masks.container}",
            f"{pad}    Q[p] = x",
            f"{pad}m &= x",
            f"{pad}if not m: return NONE",
        ]
    if memo.rules:
        lines += [
            *(f"{pad}{line}" for line in memo.key),
            f"{pad}found = found_of.get(z)",
            f"{pad}if found is not None:",
            f"{pad}    m &= found",
            f"{pad}    if not m: return NONE",
            f"{pad}    z = None",
            f"{pad}found = {everything ^ memo.rules}",
        ]
    if by_mask and memo.is_of_call:
        # Names differ where all else repeats: an address with the port.
        lines += [f"{pad}if m & {masks.name}:", *(f"{pad}    {line}" for line in by_mask)]
    remember = "; found |= 1 << k" if memo.rules else ""
    lines += [
        f"{pad}q = P[p]",
        f"{pad}hits = []",
        f"{pad}while m:",
        f"{pad}    k = (m & -m).bit_length() - 1",
        f"{pad}    m &= m - 1",
        f"{pad}    try:",
        f"{pad}        if R[k](i, p, q, n): hits.append((RULES[k], n)){remember}",
    ]
    if by_name:
        lines += [f"{pad}        elif o and {by_name} >> k & 1 and R[k](i, p, q, o): hits.append((RULES[k], o))"]
    lines += [f"{pad}    except Exception as problem: fault(RULES[k], problem){remember}"]
    if memo.rules:
        lines += [
            f"{pad}if z is not None:",
            f"{pad}    if len(found_of) >= {_MAX_FOUND}: found_of.clear()",
            f"{pad}    found_of[z] = found",
        ]
    lines += [f"{pad}return hits", "    return match"]
    return lines


Predicate = Callable[[Mapping[str, Any]], bool]
_ON_SYSCALLS = frozenset({SYSCALL})


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of all rules, compiled."""

    matchers: Mapping[str, ClassMatcher]
    """For batches: the class of each event type; types that no rule can match are absent."""
    predicates: Mapping[str, tuple[tuple[int, Predicate], ...]]
    """For documents, by source: the index of each rule and its condition, in file order."""
    classes: Sequence[TypeClass]
    """The classes of event types."""


def compile_rules(
    conditions: Sequence[Node],
    sources: Sequence[frozenset[str]] | None = None,
    groups: Sequence[TypeClass] | None = None,
) -> Conditions:
    """Compile the conditions of all rules, in file order.

    Args:
        conditions: one per rule, with macros resolved and without errors.
        sources: those of each rule; None if all are on system calls.
        groups: the classes of event types, if the same conditions were compiled before.
    """
    of = [_ON_SYSCALLS] * len(conditions) if sources is None else sources
    matchers: dict[str, ClassMatcher] = {}
    predicates: dict[str, list[tuple[int, Predicate]]] = {}
    with deep():
        if groups is None:
            groups = classes(conditions, [index for index, sources in enumerate(of) if SYSCALL in sources])
        for group in groups:
            matcher = ClassMatcher(group)
            for event_type in group.types:
                matchers[event_type] = matcher
        for index, condition in enumerate(conditions):
            if others := of[index] - _ON_SYSCALLS:
                predicate = compile_items(condition)
                for source in others:
                    predicates.setdefault(source, []).append((index, predicate))
    return Conditions(matchers, {source: tuple(each) for source, each in predicates.items()}, groups)
