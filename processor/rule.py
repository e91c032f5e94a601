"""The attributes of a rule that detection and correlation need."""

from collections.abc import Iterable
from typing import Protocol

from processor.language.ast import Node
from schemas.catalogue.priorities import Priority


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
    def source(self) -> str:
        """The event source that the rule applies to."""
