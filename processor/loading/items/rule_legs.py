"""Correlations over rules: a macro whose legs are the conditions of other rules.

The text of such a macro is a placeholder. In the conditions that use it, its body becomes the disjunction of the rules'
conditions, each under the name of its rule.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from processor.language.ast import Macro, Node, Or, fold, walk, with_children
from processor.language.tokens import IDENTIFIER
from processor.loading.problems.hints import did_you_mean
from processor.loading.problems.model import Problem, ProblemCode
from processor.loading.rules import LoadedMacro, Rule
from processor.loading.yaml.tracing import node_location
from schemas.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from schemas.yaml.nodes import Node as YamlNode

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
        self._stateful = frozenset(name for name, macro in macros.items() if "correlation" in macro.extensions)
        selections = {name: rule_selection(macro.extensions.get("correlation")) for name, macro in macros.items()}
        self._selections = {name: each for name, each in selections.items() if each is not None}
        self._users = frozenset(
            name
            for name, macro in macros.items()
            if name in self._selections or any(self._is_selection(node) for node in walk(macro.condition))
        )
        self._report = report
        self._known: dict[str, tuple[Macro, ...]] = {}

    def is_used_in(self, text: str) -> bool:
        """Return whether the text of a condition may use a correlation over rules."""
        return bool(self._users) and not self._users.isdisjoint(_WORD.findall(text))

    def resolve(self, condition: Node, rules: Sequence[Rule]) -> Node:
        """Return a condition with the conditions of rules in it.

        Args:
            condition: with macros resolved.
            rules: all that use no correlation over rules.
        """

        def combine(node: Node, parts: tuple[Node, ...]) -> Node:
            if not isinstance(node, Macro) or node.name not in self._selections:
                return with_children(node, parts)
            legs = self._legs(node.name, rules)
            return Macro(node.name, Or(legs) if len(legs) > 1 else (legs or (node.body,))[0], node.span)

        return fold(condition, combine)

    def _is_selection(self, node: Node) -> bool:
        return isinstance(node, Macro) and node.name in self._selections

    def _legs(self, macro: str, rules: Sequence[Rule]) -> tuple[Macro, ...]:
        if macro not in self._known:
            selection = self._selections[macro]
            plain = {rule.name: rule for rule in rules if not self._is_stateful(rule)}
            for node in selection.names:
                if node.value not in plain:
                    self._unknown(macro, node, rules)
            for node in selection.tags:
                if not any(node.value in rule.tags for rule in plain.values()):
                    tags = sorted({tag for rule in rules for tag in rule.tags})
                    hint = did_you_mean(node.value, tags) or "use a tag of rules in this file or those before it"
                    self._fail(macro, node, f"no rule has the tag '{node.value}'", hint)
            names = {node.value: None for node in selection.names if node.value in plain}
            chosen = {node.value for node in selection.tags}
            names |= {name: None for name, rule in plain.items() if chosen.intersection(rule.tags)}
            self._known[macro] = tuple(Macro(name, plain[name].condition) for name in names)
        return self._known[macro]

    def _is_stateful(self, rule: Rule) -> bool:
        return any(isinstance(node, Macro) and node.name in self._stateful for node in walk(rule.condition))

    def _unknown(self, macro: str, node: ScalarNode, rules: Sequence[Rule]) -> None:
        names = [rule.name for rule in rules]
        if node.value in names:
            hint = "list rules that one event decides"
            self._fail(macro, node, f"rule '{node.value}' uses a stateful macro", hint)
        else:
            hint = did_you_mean(node.value, names) or "list rules of this file or those before it"
            self._fail(macro, node, f"there is no rule '{node.value}'", hint)

    def _fail(self, macro: str, node: ScalarNode, message: str, hint: str) -> None:
        self._report(Problem(ProblemCode.LOAD_ERR_EXTENSION, message, "macro", macro, node_location(node), hint))


def _texts(node: YamlNode | None) -> tuple[ScalarNode, ...]:
    items = node.items if isinstance(node, SequenceNode) else () if node is None else (node,)
    return tuple(item for item in items if isinstance(item, ScalarNode) and item.value)
