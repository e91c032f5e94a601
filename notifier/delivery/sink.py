"""The protocol that every sink implements."""

from collections.abc import Sequence
from typing import Protocol

from notifier.delivery.outcome import RoutedAlert, SendOutcome


class Sink(Protocol):
    """Delivers alerts to a file, a daemon, a service or a topic.

    Each method returns within a bounded time. None raises for a failure of the outside world: `send` returns it.
    """

    batch_size: int
    """How many alerts one call of `send` can use; 1 for a sink that sends one at a time."""

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Deliver the first alert, or the first few in one message.

        Args:
            alerts: at least one and at most `batch_size`, oldest first.

        Returns:
            How many were delivered, or why none was.
        """

    def idle(self) -> None:
        """Maintain connections while there is nothing to deliver."""

    def reopen(self) -> None:
        """Reopen files and connections, for example after log rotation."""

    def close(self) -> None:
        """Close files and connections."""
