"""Holds back the events of a container until more is known of it, and nobody else's.

Pure: time comes as an argument, and what is held may be anything.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from schemas.caching.bounded import BoundedMap

MAX_AGE = 1_000_000_000
"""Nanoseconds that the first event of a container waits at most."""

MAX_EVENTS = 10_000
"""Events of all containers together."""

T = TypeVar("T")


class PendingEvents(Generic[T]):
    """Events by container, each container's in the order in which they came.

    Args:
        max_age: nanoseconds that events wait at most.
        max_events: events that wait at most, of all containers together.
    """

    def __init__(self, max_age: int = MAX_AGE, max_events: int = MAX_EVENTS) -> None:
        self.gave_up_by_time = 0
        """Events that went on without the facts because they had waited long enough."""
        self.gave_up_by_count = 0
        """Events that went on without the facts because too many waited."""
        self._max_age = max_age
        self._max_events = max_events
        self._held: OrderedDict[str, tuple[int, deque[T]]] = OrderedDict()
        self._given_up: BoundedMap[str, bool] = BoundedMap(4096)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def should_hold(self, container: str, *, is_pending: bool) -> bool:
        """Tell whether a container's next event has to wait: for facts, or behind its earlier events."""
        return container in self._held or (is_pending and container not in self._given_up)

    def hold(self, container: str, event: T, now: int) -> list[T]:
        """Hold an event.

        Args:
            container: its key.
            event: what waits.
            now: monotonic nanoseconds.

        Returns:
            Events that must go on in its stead because too many wait, in order: those of the container that has
            waited longest.
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
        """Let a container's events go on, for its facts are there.

        Returns:
            Them, in order.
        """
        return self._release(container)

    def expired(self, now: int) -> list[T]:
        """Let those go on that have waited long enough; later events of their containers no longer wait.

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
        """Let everything go on, at the end."""
        released: list[T] = []
        for container in list(self._held):
            released.extend(self._release(container))
        return released

    def _release(self, container: str) -> list[T]:
        _, events = self._held.pop(container, (0, deque()))
        self._count -= len(events)
        return list(events)
