"""The selection of active rules: `enabled` in the rule files, then the switches in the settings, in order.

Source: falco app/actions/load_rules_files.cpp, falco_utils.cpp (matches_wildcard).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from processor.loading.rules import Rule
from schemas.catalogue.priorities import Priority


@dataclass(frozen=True, slots=True)
class Switch:
    """Enables or disables rules, by name or by tag."""

    enable: bool
    by: Literal["rule", "tag"]
    pattern: str
    """A complete rule name in which `*` matches any text, or an exact tag."""

    def matches(self, rule: Rule) -> bool:
        """Return whether it applies to a rule."""
        if self.by == "tag":
            return self.pattern in rule.tags
        return re.fullmatch(_wildcard(self.pattern), rule.name, re.DOTALL) is not None


def _wildcard(pattern: str) -> str:
    # Consecutive stars are equivalent to one, but would take exponential time.
    return ".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*"))


def apply_switches(rules: Iterable[Rule], switches: Sequence[Switch]) -> tuple[Rule, ...]:
    """Enable and disable rules; later switches take precedence.

    Args:
        rules: all rules, enabled as in their files.
        switches: the switches, in the order of the settings.
    """
    return tuple(_switched(rule, switches) for rule in rules)


def _switched(rule: Rule, switches: Sequence[Switch]) -> Rule:
    enabled = rule.enabled
    for switch in switches:
        if switch.matches(rule):
            enabled = switch.enable
    return rule if enabled == rule.enabled else replace(rule, enabled=enabled)


def select(
    rules: Iterable[Rule], switches: Sequence[Switch] = (), floor: Priority = Priority.DEBUG
) -> tuple[Rule, ...]:
    """Return the rules to run, in order.

    Args:
        rules: all rules.
        switches: the switches, in the order of the settings.
        floor: rules of lower severity are omitted.
    """
    return tuple(rule for rule in apply_switches(rules, switches) if rule.enabled and rule.priority <= floor)


def unmatched(rules: Iterable[Rule], switches: Iterable[Switch]) -> tuple[Switch, ...]:
    """Return the switches that apply to no rule, most likely because of a misspelled name."""
    known = tuple(rules)
    return tuple(switch for switch in switches if not any(switch.matches(rule) for rule in known))
