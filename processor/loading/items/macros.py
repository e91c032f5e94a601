"""Macros: their bodies replace their names in the tree of a condition.

A macro can use the macros whose first definition precedes its own last one; a rule can use all. All uses
share one body object, so that it can be evaluated once per event.

Source: falco filter_macro_resolver.cpp, rule_loader_compiler.cpp.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heappush

from foundation.errors import LannerError
from foundation.yaml.text import Edit, Span, TracedText
from processor.language.ast import Check, Macro, MacroRef, Node, children, with_children
from processor.language.tokens import SpanError

MAX_CONDITION = 1_000_000
"""Characters; lists that include each other could grow without limit."""

_BLANKS = " \t\n\r"
_DELIMITERS = frozenset(_BLANKS + "(),=")
_WORDS = re.compile(r"[^ \t\n\r(),=]+")


class ConditionTooLong(LannerError, ValueError):
    """Raised if a condition is longer than MAX_CONDITION."""


@dataclass(frozen=True, slots=True)
class ExpandedList:
    """A list's items, with lists among them expanded."""

    name: str
    items: tuple[str, ...]
    text: str
    """The text that replaces the name."""
    words: frozenset[str]
    """The words of that text, which may again be names of lists."""


def expand(name: str, items: Sequence[str]) -> ExpandedList:
    """Return the list with the text that replaces its name."""
    text = ", ".join(quote_item(item) for item in items)
    return ExpandedList(name, tuple(items), text, frozenset(_WORDS.findall(text)))


def quote_item(item: str) -> str:
    """Quote an item that contains a blank, unless it begins with a quote."""
    return f'"{item}"' if " " in item and item[0] not in "\"'" else item


class ListTable:
    """All lists in the order of their definitions, ready for substitution."""

    __slots__ = ("_lists", "_odd", "_position", "used")

    def __init__(self, lists: Sequence[ExpandedList]) -> None:
        self._lists = lists
        self._position: Mapping[str, int] = {item.name: index for index, item in enumerate(lists)}
        # A name that is not a single word is not found among the words of a text.
        self._odd = [index for index, item in enumerate(lists) if not _WORDS.fullmatch(item.name)]
        self.used: set[str] = set()

    def substitute(self, condition: TracedText) -> None:
        """Replace the names of lists by their items, list by list in the order of definition.

        Raises ConditionTooLong if the text is longer than MAX_CONDITION, or grows beyond it.
        """
        if len(condition.text) > MAX_CONDITION:
            raise ConditionTooLong(f"the condition has more than {MAX_CONDITION:,} characters")
        words = set(_WORDS.findall(condition.text))
        todo = [*self._odd, *(self._position[word] for word in words if word in self._position)]
        heapify(todo)
        last = -1
        while todo:
            index = heappop(todo)
            if index == last:
                continue
            last = index
            item = self._lists[index]
            if not _replace(condition, item):
                continue
            self.used.add(item.name)
            for word in item.words:
                position = self._position.get(word, -1)
                if position > index:
                    heappush(todo, position)


def _replace(condition: TracedText, item: ExpandedList) -> bool:
    text, name = condition.text, item.name
    parts: list[str] = []
    length = 0
    edits: list[Edit] = []
    rest = 0
    search = 0
    while (start := text.find(name, search)) != -1:
        end = start + len(name)
        # A replaced name is followed by an inserted blank.
        before_fits = text[start - 1] in _DELIMITERS if start > rest else True
        if not before_fits or (end < len(text) and text[end] not in _DELIMITERS):
            search = start + 1
            continue
        unchanged = text[rest:start]
        parts.append(unchanged)
        length += len(unchanged)
        length -= _strip_end(parts)
        end = start + len(name)
        while end < len(text) and text[end] in _BLANKS:
            end += 1
        if not item.text:
            if parts and parts[-1].endswith(","):
                parts[-1] = parts[-1][:-1]
                length -= 1
            elif end < len(text) and text[end] == ",":
                end += 1
        new = f" {item.text} " if length else f"{item.text} "
        edits.append((length, length + len(new), start, end))
        parts.append(new)
        length += len(new)
        rest = search = end
        if length > MAX_CONDITION:
            raise ConditionTooLong(f"with its lists, the condition exceeds {MAX_CONDITION:,} characters")
    if not edits:
        return False
    parts.append(text[rest:])
    if length + len(text) - rest > MAX_CONDITION:
        raise ConditionTooLong(f"with its lists, the condition exceeds {MAX_CONDITION:,} characters")
    condition.edit("".join(parts), edits)
    return True


def _strip_end(parts: list[str]) -> int:
    """Remove trailing blanks from the parts and return their number."""
    taken = 0
    while parts:
        stripped = parts[-1].rstrip(_BLANKS)
        taken += len(parts[-1]) - len(stripped)
        if stripped:
            parts[-1] = stripped
            break
        parts.pop()
    return taken


MAX_DEPTH = 250
"""The depth limit of a tree with macros resolved."""
MAX_CHECKS = 200_000
"""The limit on checks in a tree with macros resolved: macros that use others twice double at each step."""
MAX_ALL_CHECKS = 300_000
"""The same for all trees together, each of which is gone through several times. The shipped rules have some 5,000."""


@dataclass(frozen=True, slots=True)
class MacroText:
    """A parsed macro: the tree of its own text, and its visibility."""

    name: str
    condition: Node
    index: int
    visibility: int


class MacroProblem(SpanError):
    """Raised if a macro cannot be resolved."""

    def __init__(self, message: str, span: Span, name: str = "") -> None:
        super().__init__(message, span)
        self.name = name
        """The missing macro, if any."""


class BrokenMacro(LannerError):
    """Raised for a macro whose definition has an error that is already reported."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a tree."""

    depth: int
    checks: int


class MacroTable:
    """Resolves trees; first those of macros in the order of definition, then those of rules."""

    __slots__ = ("_broken", "_inlined", "_left", "_resolved", "_sizes", "_texts", "used")

    def __init__(self, broken: frozenset[str]) -> None:
        self._texts: dict[str, MacroText] = {}
        self._resolved: dict[str, Node] = {}
        self._broken = set(broken)
        self._inlined: dict[tuple[str, int | None], Node] = {}
        self._sizes: dict[int, tuple[Node, Size]] = {}
        self._left = MAX_ALL_CHECKS
        self.used: set[str] = set()

    def add(self, macro: MacroText) -> None:
        """Add a macro; all macros are added before any is resolved."""
        self._texts[macro.name] = macro

    @property
    def names(self) -> list[str]:
        """The names of all macros."""
        return list(self._texts)

    def break_(self, name: str) -> None:
        """Mark a macro as invalid: items that use it are skipped without a further error."""
        self._broken.add(name)

    def written(self, name: str) -> Node:
        """Return the tree of a macro's own text."""
        return self._texts[name].condition

    def resolve_macro(self, name: str) -> Node:
        """Resolve a macro's condition, and store it for the macros after it. Raises as `resolve`."""
        macro = self._texts[name]
        resolved = self.counted(self.resolve(macro.condition, macro.visibility))
        self._resolved[name] = resolved
        return resolved

    def resolve(self, condition: Node, visibility: int | None = None) -> Node:
        """Replace macro references in a parsed tree by the macros.

        Args:
            condition: the tree.
            visibility: macros first defined at this index or later are invisible; None shows all.

        Raises:
            MacroProblem: an unknown macro, a loop, or a tree that is too deep or too large.
            BrokenMacro: it uses an invalid macro.
        """
        return self._limited(self._resolve(condition, visibility, (), 0))

    def counted(self, resolved: Node) -> Node:
        """Return a tree with macros resolved, after its checks were counted.

        Raises MacroProblem if it is too deep or too large, or all trees together are.
        """
        self._left -= self._size(resolved).checks
        if self._left < 0:
            message = f"all conditions have more than {MAX_ALL_CHECKS:,} checks with macros and rules resolved"
            raise MacroProblem(message, resolved.span)
        return self._limited(resolved)

    def _limited(self, resolved: Node) -> Node:
        size = self._size(resolved)
        if size.depth > MAX_DEPTH:
            raise MacroProblem(f"exceeded max depth limit of {MAX_DEPTH}", resolved.span)
        if size.checks > MAX_CHECKS:
            message = f"the condition has {size.checks:,} checks with macros resolved, more than {MAX_CHECKS:,}"
            raise MacroProblem(message, resolved.span)
        return resolved

    def _resolve(self, node: Node, visibility: int | None, path: tuple[str, ...], depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise MacroProblem(f"exceeded max depth limit of {MAX_DEPTH}", node.span)
        if isinstance(node, Check | Macro):
            return node
        if isinstance(node, MacroRef):
            return self._macro(node, visibility, path, depth)
        # map instead of a comprehension: one Python frame per level.
        below = partial(self._resolve, visibility=visibility, path=path, depth=depth + 1)
        return with_children(node, tuple(map(below, children(node))))

    def _macro(self, ref: MacroRef, visibility: int | None, path: tuple[str, ...], depth: int) -> Node:
        name = ref.name
        macro = self._texts.get(name)
        if name in self._broken:
            self.used.add(name)
            raise BrokenMacro
        if macro is None or (visibility is not None and macro.index >= visibility):
            raise MacroProblem(f"Undefined macro '{name}' used in filter.", ref.span, name)
        if name in path:
            raise MacroProblem(f"reference loop in macro '{name}'", ref.span)
        self.used.add(name)
        # A later definition may make a macro visible that is not resolved yet.
        body = self._resolved.get(name) or self._inlined.get((name, visibility))
        if body is None:
            try:
                body = self._resolve(macro.condition, visibility, (*path, name), depth + 1)
            except MacroProblem as problem:
                # Its span is an offset in the other macro's text: report the reference here instead.
                raise MacroProblem(problem.message, ref.span, problem.name) from None
            self._inlined[name, visibility] = body
        return Macro(name, body, ref.span)

    def _size(self, node: Node) -> Size:
        if isinstance(node, Macro):
            known = self._sizes.get(id(node.body))
            if known is None:
                # Store the body too: otherwise its id could be reused.
                known = self._sizes[id(node.body)] = (node.body, self._size(node.body))
            return Size(known[1].depth + 1, known[1].checks)
        sizes = tuple(map(self._size, children(node))) or (Size(0, 1),)
        return Size(max(size.depth for size in sizes) + 1, sum(size.checks for size in sizes))
