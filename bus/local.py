"""The bus within one process: a published value is passed to all subscribers at once, on the same thread.

As with Kafka, a publisher knows only the topic, not its subscribers.
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
        """Call take with every later value, in the order of publishing. Its exceptions propagate to the publisher."""
        self._subscribers.append(take)

    def publish(self, value: Value) -> None:
        """Pass a value to all subscribers, in the order in which they subscribed."""
        for take in self._subscribers:
            take(value)


class LocalBus:
    """The two topics between the stages of one process."""

    def __init__(self) -> None:
        self.events: Topic[EventBatch] = Topic("events")
        self.alerts: Topic[Alert] = Topic("alerts")
