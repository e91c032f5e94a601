"""Conditions as lints read them: each macro and rule by itself, so that a problem is reported once, where it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal as OneOf

from lanner.ruleset.lint.codes import LintCode
from processor.language.ast import Check, Literal, Macro, Node, Span, children
from processor.loading import LoadedList, LoadedMacro, Problem, Rule
from processor.loading.yaml.tracing import TracedText, node_location
from schemas.yaml.nodes import ScalarNode


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

    def problem_of_value(
        self, code: LintCode, message: str, value: Literal, hint: str, lists: Mapping[str, LoadedList]
    ) -> Problem:
        """Return a problem at a value; at the item of the list if the value is from one."""
        written = self.traced.written(value.span)
        if value.text not in written and (found := _item(written, value.text, lists)) is not None:
            name, node = found
            return Problem(code, message, "list", name, node_location(node), hint)
        return self.problem(code, message, value.span, hint)

    def checks(self) -> Iterator[Check]:
        """Yield the checks of the text, without those in macros that it uses."""
        return (node for node in self.nodes() if isinstance(node, Check))

    def nodes(self) -> Iterator[Node]:
        """Yield all nodes of the text, without the bodies of macros that it uses."""
        todo = [self.tree]
        while todo:
            node = todo.pop()
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


def _item(name: str, text: str, lists: Mapping[str, LoadedList]) -> tuple[str, ScalarNode] | None:
    """Find the item of a list, or of a list that it includes."""
    todo, seen = [name], set[str]()
    while todo:
        current = todo.pop()
        found = lists.get(current)
        if found is None or current in seen:
            continue
        seen.add(current)
        for node in found.nodes:
            if node.value.strip("\"'") == text:
                return _owner(node, current, lists), node
        todo.extend(found.items)
    return None


def _owner(node: ScalarNode, name: str, lists: Mapping[str, LoadedList]) -> str:
    """Return the list that an item was written in: of the lists that have it, the one with the nearest head."""
    line = node.location.line
    heads = [each for each in lists.values() if each.location.file == node.file.name and each.location.line <= line]
    nearest = max(heads, key=lambda each: each.location.line, default=None)
    return name if nearest is None else nearest.name
