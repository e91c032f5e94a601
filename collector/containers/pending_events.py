"""Holds back the events of a container until its facts arrive, without delaying other events.

Pure: time is an argument, and events may be of any type.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from schemas.caching.bounded import BoundedMap

MAX_AGE = 1_000_000_000
"""Maximum nanoseconds that the first event of a container waits."""

MAX_EVENTS = 10_000
"""Maximum events of all containers together."""

T = TypeVar("T")


class PendingEvents(Generic[T]):
    """Waiting events by container, each container's in arrival order.

    Args:
        max_age: maximum nanoseconds that an event waits.
        max_events: maximum events that wait, of all containers together.
    """

    def __init__(self, max_age: int = MAX_AGE, max_events: int = MAX_EVENTS) -> None:
        self.gave_up_by_time = 0
        """Events released without facts because they had waited too long."""
        self.gave_up_by_count = 0
        """Events released without facts because too many were waiting."""
        self._max_age = max_age
        self._max_events = max_events
        self._held: OrderedDict[str, tuple[int, deque[T]]] = OrderedDict()
        self._given_up: BoundedMap[str, bool] = BoundedMap(4096)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def should_hold(self, container: str, *, is_pending: bool) -> bool:
        """Return whether a container's next event has to wait: for facts, or behind its earlier events."""
        return container in self._held or (is_pending and container not in self._given_up)

    def hold(self, container: str, event: T, now: int) -> list[T]:
        """Hold an event.

        Args:
            container: the container's key.
            event: the event.
            now: monotonic nanoseconds.

        Returns:
            Events to release instead because too many are waiting, in order: those of the container that has waited
                longest.
        """
        if container not in self._held:
            self._held[container] = (now, deque())
        self._held[container][1].append(event)
        self._count += 1
        if self._count <= self._max_events:
            return []
        oldest = next(iter(self._held))
        released = self._release(oldest)
        self._given_up.put(oldest, value=True)
        self.gave_up_by_count += len(released)
        return released

    def known(self, container: str) -> list[T]:
        """Release a container's events, because its facts have arrived.

        Returns:
            The events, in order.
        """
        return self._release(container)

    def expired(self, now: int) -> list[T]:
        """Release events that have waited too long; later events of their containers no longer wait.

        Args:
            now: monotonic nanoseconds.

        Returns:
            The events, each container's in order.
        """
        released: list[T] = []
        while self._held:
            container, (since, _) = next(iter(self._held.items()))
            if now - since < self._max_age:
                break
            released.extend(self._release(container))
            self._given_up.put(container, value=True)
        self.gave_up_by_time += len(released)
        return released

    def drain(self) -> list[T]:
        """Release all events, at shutdown."""
        released: list[T] = []
        for container in list(self._held):
            released.extend(self._release(container))
        return released

    def _release(self, container: str) -> list[T]:
        _, events = self._held.pop(container, (0, deque()))
        self._count -= len(events)
        return list(events)
