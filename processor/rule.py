"""The attributes of a rule that detection and correlation need, and its texts as alerts carry them."""

from collections.abc import Iterable
from typing import Protocol

from processor.language.ast import Node
from schemas.catalogue.priorities import Priority
from schemas.text.limits import clipped

MAX_RULE_TEXT_BYTES = 2_000
"""Limit of a rule's description, and of its response, in an alert."""


class RuleProtocol(Protocol):
    """The part of a rule that detection and correlation use; loaded rules have more attributes."""

    @property
    def name(self) -> str:
        """The rule's name."""

    @property
    def condition(self) -> Node:
        """The condition, with macros resolved and without errors."""

    @property
    def output(self) -> str:
        """The output text, without errors."""

    @property
    def priority(self) -> Priority:
        """The rule's priority."""

    @property
    def tags(self) -> Iterable[str]:
        """The rule's tags."""

    @property
    def description(self) -> str:
        """What the rule detects and why it matters."""

    @property
    def response(self) -> str:
        """What to look at first when it alerts; may be empty."""

    @property
    def source(self) -> str:
        """The event source that the rule applies to."""


def alert_text(text: str) -> str:
    """Return a rule's description or response as its alerts carry it: on one line, and bounded."""
    return clipped(" ".join(text.split()), MAX_RULE_TEXT_BYTES)
