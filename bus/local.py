"""The bus of one process: what a stage publishes is handed to those that subscribed, at once, on the same thread.

The stages meet here as they meet over Kafka: a publisher knows a topic's name and nothing of who listens.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from schemas.alert import Alert
from schemas.batch import EventBatch

Value = TypeVar("Value")


class Topic(Generic[Value]):
    """A named stream of values of one type."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._subscribers: list[Callable[[Value], None]] = []

    def subscribe(self, take: Callable[[Value], None]) -> None:
        """Have every later value handed to take, in the order of publishing; what take raises reaches the publisher."""
        self._subscribers.append(take)

    def publish(self, value: Value) -> None:
        """Hand a value to all subscribers, in the order in which they subscribed."""
        for take in self._subscribers:
            take(value)


class LocalBus:
    """The two topics that pass between the stages of one host."""

    def __init__(self) -> None:
        self.events: Topic[EventBatch] = Topic("events")
        self.alerts: Topic[Alert] = Topic("alerts")
