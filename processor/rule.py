"""What is asked of a rule by those that judge by it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from processor.language.ast import Node

if TYPE_CHECKING:
    # Loading itself asks what correlation makes of a rule: imported at run time, this would be a circle.
    from processor.loading.priority import Priority


class RuleProtocol(Protocol):
    """What detection and correlation need of a rule; the loader's rules have more."""

    @property
    def name(self) -> str:
        """The rule's name."""

    @property
    def condition(self) -> Node:
        """The condition, macros resolved and free of errors."""

    @property
    def output(self) -> str:
        """The output text, free of errors."""

    @property
    def priority(self) -> "Priority":
        """The rule's priority."""

    @property
    def tags(self) -> Iterable[str]:
        """The rule's tags."""

    @property
    def source(self) -> str:
        """The event source it is for."""
