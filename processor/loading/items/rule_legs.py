"""Correlations over rules: a macro whose legs are the conditions of other rules.

The text of such a macro is a placeholder. In the conditions that use it, its body becomes the disjunction of the rules'
conditions, each under the name of its rule.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from foundation.yaml.nodes import Node as YamlNode
from foundation.yaml.text import node_location
from processor.language.ast import Macro, Node, Or, children, fold, walk, with_children
from processor.language.tokens import IDENTIFIER
from processor.loading.problems import Problem, ProblemCode
from processor.rule import TYPES, LoadedMacro, Rule

MAX_LEVELS = 3
"""How many levels of rules may be about rules."""
_WORD = re.compile(IDENTIFIER.pattern)


@dataclass(frozen=True, slots=True)
class RuleSelection:
    """Which rules a correlation is about."""

    names: tuple[ScalarNode, ...] = ()
    tags: tuple[ScalarNode, ...] = ()


def rule_selection(correlation: YamlNode | None) -> RuleSelection | None:
    """Return the `rules` of a correlation: a list of names, or `{tags: [...]}`; None if it has none.

    What is neither is left out: reading the correlation reports it.
    """
    rules = correlation.get("rules") if isinstance(correlation, MappingNode) else None
    if rules is None:
        return None
    if isinstance(rules, MappingNode):
        return RuleSelection(tags=_texts(rules.get("tags")))
    return RuleSelection(names=_texts(rules))


class RuleLegs:
    """Puts the conditions of rules into the conditions that use correlations over rules."""

    def __init__(self, macros: Mapping[str, LoadedMacro], report: Callable[[Problem], None]) -> None:
        """Find the correlations over rules. report: receives problems, each once."""
        self._groups = {
            name: _group_by(macro.extensions["correlation"])
            for name, macro in macros.items()
            if "correlation" in macro.extensions
        }
        """The group-by of each stateful macro."""
        ordered = {name for name, each in TYPES.items() if each.is_ordered}
        self._ordered = {name for name in self._groups if _type_of(macros[name].extensions["correlation"]) in ordered}
        selections = {name: rule_selection(macro.extensions.get("correlation")) for name, macro in macros.items()}
        self._selections = {name: each for name, each in selections.items() if each is not None}
        self._users = {
            name: found
            for name, macro in macros.items()
            if (found := {name, *_macro_names(macro.condition)} & self._selections.keys())
        }
        """The correlations over rules that a macro uses, or is."""
        self._report = report
        self._known: dict[str, Node | None] = {}
        self._rules: dict[str, Rule] = {}
        self._by_tag: dict[str, dict[int, str]] = {}
        """The names of the rules with a tag that are about no rules, by their index among all."""
        self._by_group: dict[str, tuple[tuple[str, ...], ...]] = {}
        """The groups by which the stateful macros of a rule count."""
        self._levels: dict[str, int] = {}
        """The levels of the rules that are about rules, in the order in which they can be resolved."""
        self._refused: set[tuple[str, str]] = set()
        """The macros and the rules in their lists for which a cycle, or too many levels, are reported."""

    def in_order(self, texts: Mapping[str, str]) -> list[str]:
        """Return rules' names, those first that others are about. A cycle is reported. texts: their conditions."""
        used: dict[str, set[str]] = {}
        for name, text in texts.items() if self._users else ():
            found = [self._users[word] for word in _WORD.findall(text) if word in self._users]
            if found:
                used[name] = set[str]().union(*found)
        for name in used:
            self._visit(name, used, ())
        return [*(name for name in texts if name not in used), *self._levels]

    def _visit(self, rule: str, used: Mapping[str, set[str]], path: tuple[str, ...]) -> int:
        """Return the level of a rule: 0 if it is about no other, and else one more than the rules that it is about."""
        if rule not in used or rule in self._levels:
            return self._levels.get(rule, 0)
        path = (*path, rule)
        level = 1
        for macro in sorted(used[rule]):
            for node in self._selections[macro].names:
                if node.value in path:
                    cycle = " -> ".join((*path[path.index(node.value) :], node.value))
                    self._refused.add((macro, node.value))
                    self._fail(macro, node, f"rules are about themselves: {cycle}", "remove one of them from its list")
                    continue
                if len(path) > MAX_LEVELS and node.value in used and node.value not in self._levels:
                    # Reported where the first of the path is about too many.
                    self._refused.add((macro, node.value))
                    level = max(level, 2)
                    continue
                inner = self._visit(node.value, used, path) + 1
                if inner > MAX_LEVELS:
                    hint = f"at most {MAX_LEVELS} levels of rules are about rules"
                    self._fail(macro, node, f"rule '{node.value}' is about too many levels of rules", hint)
                level = max(level, inner)
        self._levels[rule] = level
        return level

    def resolve(self, condition: Node, rules: Sequence[Rule]) -> Node:
        """Return a condition with the conditions of rules in it.

        rules: all that it may be about: those of the call before, and more.
        """

        def combine(node: Node, parts: tuple[Node, ...]) -> Node:
            if not isinstance(node, Macro) or node.name not in self._selections:
                return with_children(node, parts)
            if node.name not in self._known:
                self._known[node.name] = self._body(node.name)
            return Macro(node.name, self._known[node.name] or node.body, node.span)

        self._index(rules)
        return fold(condition, combine)

    def _index(self, rules: Sequence[Rule]) -> None:
        for index, rule in enumerate(islice(rules, len(self._rules), None), len(self._rules)):
            self._rules[rule.name] = rule
            # By tag, rules about rules would be about themselves.
            for tag in rule.tags if rule.name not in self._levels and rule.python is None else ():
                self._by_tag.setdefault(tag, {})[index] = rule.name

    def _body(self, macro: str) -> Node | None:
        """Return the conditions of the rules that a correlation is about; None if there are none, which is reported."""
        selection = self._selections[macro]
        names: dict[str, None] = {}
        for node in selection.names:
            known = self._rules.get(node.value)
            if known is not None and known.python is None and self._other_group(macro, node.value) is None:
                names[node.value] = None
            elif (macro, node.value) not in self._refused:
                self._unusable(macro, node)
        tagged: dict[int, str] = {}
        for node in selection.tags:
            rules = self._by_tag.get(node.value, {})
            found = {index: name for index, name in rules.items() if self._other_group(macro, name) is None}
            if not found:
                hint = did_you_mean(node.value, sorted(self._by_tag))
                hint = hint or "use a tag of rules in this file or those before it"
                self._fail(macro, node, f"no rule has the tag '{node.value}'", hint)
            tagged |= found
        names |= {tagged[index]: None for index in sorted(tagged)}
        legs = tuple(Macro(name, self._rules[name].condition) for name in names)
        return Or(legs) if len(legs) > 1 else legs[0] if legs else None

    def _other_group(self, macro: str, rule: str) -> tuple[str, ...] | None:
        """Return by what a stateful rule counts, if not by the group of an ordered sequence.

        Its windows are then elsewhere, and it is known too late that it matched.
        """
        if macro not in self._ordered:
            return None
        if rule not in self._by_group:
            used = self._stateful_in(self._rules[rule].condition)
            self._by_group[rule] = tuple(dict.fromkeys(self._groups[name] for name in used))
        return next((group_by for group_by in self._by_group[rule] if group_by != self._groups[macro]), None)

    def _stateful_in(self, condition: Node) -> Iterator[str]:
        """Yield the stateful macros of a condition, without those that only these use."""
        todo = [condition]
        while todo:
            node = todo.pop()
            if isinstance(node, Macro) and node.name in self._groups:
                yield node.name
            else:
                todo += children(node)

    def _unusable(self, macro: str, node: ScalarNode) -> None:
        if node.value in self._rules and self._rules[node.value].python is not None:
            hint = "count in the function, or use a macro with its condition"
            self._fail(macro, node, f"rule '{node.value}' is decided by a Python function, outside of windows", hint)
        elif node.value in self._rules:
            its = ", ".join(self._other_group(macro, node.value) or ()) or "nothing"
            mine = ", ".join(self._groups[macro]) or "nothing"
            hint = "use type temporal, or the same group-by, in the same order, as the stateful macros of the rule"
            self._fail(macro, node, f"rule '{node.value}' counts by {its} and '{macro}' by {mine}", hint)
        else:
            hint = did_you_mean(node.value, self._rules) or "list rules of this file or those before it"
            self._fail(macro, node, f"there is no rule '{node.value}'", hint)

    def _fail(self, macro: str, node: ScalarNode, message: str, hint: str) -> None:
        self._report(Problem(ProblemCode.LOAD_ERR_EXTENSION, message, "macro", macro, node_location(node), hint))


def _group_by(correlation: YamlNode) -> tuple[str, ...]:
    node = correlation.get("group-by") if isinstance(correlation, MappingNode) else None
    return tuple(item.value for item in _texts(node))


def _type_of(correlation: YamlNode) -> str:
    node = correlation.get("type") if isinstance(correlation, MappingNode) else None
    return node.value if isinstance(node, ScalarNode) else ""


def _macro_names(condition: Node) -> Iterator[str]:
    return (node.name for node in walk(condition) if isinstance(node, Macro))


def _texts(node: YamlNode | None) -> tuple[ScalarNode, ...]:
    items = node.items if isinstance(node, SequenceNode) else () if node is None else (node,)
    return tuple(item for item in items if isinstance(item, ScalarNode) and item.value)
