"""Conditions as lints read them: each macro and rule by itself, so that a problem is reported once, where it is."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal as OneOf

from foundation.yaml.nodes import ScalarNode
from foundation.yaml.text import Span, TracedText, node_location
from lanner.ruleset.lint.codes import LintCode
from processor.language.ast import Check, Literal, Macro, Node, children
from processor.loading import LoadedList, LoadedMacro, Problem, Rule


@dataclass(frozen=True, slots=True)
class ConditionText:
    """The condition of a macro or a rule."""

    kind: OneOf["macro", "rule"]
    name: str
    tree: Node
    traced: TracedText

    def problem(self, code: LintCode, message: str, span: Span, hint: str = "") -> Problem:
        """Return a problem at a span of the text."""
        return Problem(code, message, self.kind, self.name, self.traced.locate(span), hint)

    def problem_of_value(self, code: LintCode, message: str, value: Literal, hint: str, lists: "ListItems") -> Problem:
        """Return a problem at a value; at the item of the list if the value is from one."""
        written = self.traced.written(value.span)
        if value.text not in written and (found := lists.find(written, value.text)) is not None:
            name, node = found
            return Problem(code, message, "list", name, node_location(node), hint)
        return self.problem(code, message, value.span, hint)

    def checks(self) -> Iterator[Check]:
        """Yield the checks of the text, without those in macros that it uses."""
        todo = [self.tree]
        while todo:
            node = todo.pop()
            if isinstance(node, Check):
                yield node
            if not isinstance(node, Macro):
                todo.extend(reversed(children(node)))


def texts_of(macros: Iterable[LoadedMacro], rules: Iterable[Rule]) -> tuple[ConditionText, ...]:
    """Return the conditions of macros and rules."""
    of_macros = (ConditionText("macro", macro.name, macro.condition, macro.traced) for macro in macros)
    return tuple(chain(of_macros, map(text_of, rules)))


def text_of(rule: Rule) -> ConditionText:
    """Return the condition of a rule."""
    return ConditionText("rule", rule.name, rule.condition, rule.traced)


class ListItems:
    """Finds the items of lists."""

    def __init__(self, lists: Mapping[str, LoadedList]) -> None:
        self.lists = lists
        self._items: dict[str, dict[str, ScalarNode]] = {}
        self._heads: dict[str, list[tuple[int, str]]] = {}
        for each in lists.values():
            self._heads.setdefault(each.location.file, []).append((each.location.line, each.name))
        for heads in self._heads.values():
            heads.sort()

    def find(self, name: str, text: str) -> tuple[str, ScalarNode] | None:
        """Find the item with a text, in a list or a list that it includes; return the list that it was written in."""
        todo, seen = [name], set[str]()
        while todo:
            current = todo.pop()
            if current not in self.lists or current in seen:
                continue
            seen.add(current)
            items = self._by_text(current)
            if (node := items.get(text)) is not None:
                return self._owner(node, current), node
            todo.extend(item for item in items if item in self.lists)
        return None

    def _by_text(self, name: str) -> dict[str, ScalarNode]:
        if name not in self._items:
            nodes = reversed(self.lists[name].nodes)
            self._items[name] = {node.value.strip("\"'"): node for node in nodes}
        return self._items[name]

    def _owner(self, node: ScalarNode, name: str) -> str:
        """Return the list that an item was written in: the one whose head is the nearest above."""
        heads = self._heads.get(node.file.name, [])
        index = bisect_right(heads, (node.location.line, "\U0010ffff")) - 1
        return heads[index][1] if index >= 0 else name
