"""Which of the loaded rules are on: as their files say, then as settings say, in order.

Source: falco app/actions/load_rules_files.cpp, falco_utils.cpp (matches_wildcard).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from processor.loading.priority import Priority
from processor.loading.rules import Rule


@dataclass(frozen=True, slots=True)
class Switch:
    """Turns rules on or off, by name or by tag."""

    enable: bool
    by: Literal["rule", "tag"]
    pattern: str
    """A whole name in which `*` stands for any text; or a tag as it is."""

    def matches(self, rule: Rule) -> bool:
        """Tell whether it is about a rule."""
        if self.by == "tag":
            return self.pattern in rule.tags
        return re.fullmatch(_wildcard(self.pattern), rule.name, re.DOTALL) is not None


def _wildcard(pattern: str) -> str:
    # Stars in a row say no more than one, and would take exponential time.
    return ".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*"))


def apply_switches(rules: Iterable[Rule], switches: Sequence[Switch]) -> tuple[Rule, ...]:
    """Turn rules on and off; a later switch has the last word.

    Args:
        rules: all rules, enabled as their files say.
        switches: in the order of the settings.
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
    """Give the rules to run, in their order.

    Args:
        rules: all rules.
        switches: in the order of the settings.
        floor: rules of less grave priority are left out.
    """
    return tuple(rule for rule in apply_switches(rules, switches) if rule.enabled and rule.priority <= floor)


def unmatched(rules: Iterable[Rule], switches: Iterable[Switch]) -> tuple[Switch, ...]:
    """Give the switches that are about no rule: most likely a name is written wrongly."""
    known = tuple(rules)
    return tuple(switch for switch in switches if not any(switch.matches(rule) for rule in known))
