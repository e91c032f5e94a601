"""Looks up containers without blocking the caller.

Runtimes are queried on worker threads. Responses are taken in when the caller polls, so everything but the queries runs
on one thread. Facts outlive their container, because late events need them.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import PriorityQueue, SimpleQueue
from typing import Protocol

from collector.containers.naming import ContainerName
from schemas.batch import Container
from schemas.caching.bounded import BoundedMap
from schemas.errors import LannerError

WORKERS = 2
MAX_KNOWN = 4096
MAX_UNCERTAIN = 1024
"""Containers whose ids may be forged. They have a cache of their own, so that they evict no confirmed ones."""
MAX_IN_FLIGHT = 1024
"""Queries in flight; limits the backlog of a hanging runtime."""
MAX_UNCERTAIN_IN_FLIGHT = 32
"""Queries in flight about ids that may be forged; they are sent last."""

RETRY_DELAY = 250_000_000
"""Nanoseconds until a container that was unknown or not running yet is queried again."""

FAILURE_DELAY = 30_000_000_000
"""Nanoseconds until a container is queried again after its runtime failed to respond."""
FAILURE_NOTE_INTERVAL = 600_000_000_000
"""Minimum nanoseconds between two messages about failures."""


class ContainerNotFound(LannerError):
    """The runtime doesn't know the container, or has it in another cgroup."""


class RuntimeUnavailable(LannerError):
    """The runtime couldn't be queried, or gave an invalid response."""


class ContainerRuntime(Protocol):
    """A container runtime that can be queried; implement it to support another one."""

    def answers(self, name: ContainerName) -> bool:
        """Return whether this runtime may have the container."""

    def inspect(self, name: ContainerName) -> Container:
        """Inspect a container within bounded time, on any thread.

        Raises:
            ContainerNotFound: the runtime doesn't know the container.
            RuntimeUnavailable: the runtime couldn't be queried.
        """


@dataclass(slots=True)
class _Known:
    name: ContainerName
    facts: Container
    is_pending: bool = False
    is_in_flight: bool = False
    retries: int = 0
    query_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    name: ContainerName
    facts: Container | None
    failure: str | None
    """Why the runtime couldn't be queried; None if it responded, even that it doesn't know the container."""


class KnownContainers:
    """The facts of each container, as far as known.

    Args:
        lookups: the runtimes, in the order in which they are queried.
        workers: number of worker threads.
        on_failure: receives the reason why a runtime couldn't be queried, at most once in FAILURE_NOTE_INTERVAL.
    """

    def __init__(
        self,
        lookups: Sequence[ContainerRuntime],
        workers: int = WORKERS,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.version = 0
        """Increases whenever more becomes known of any container."""
        self.unanswered = 0
        """Queries that no runtime answered."""
        self.not_found = 0
        """Queries about containers that no runtime knew."""
        self._lookups = tuple(lookups)
        self._on_failure = on_failure
        self._failure_note_at = 0
        self._known: BoundedMap[str, _Known] = BoundedMap(MAX_KNOWN)
        self._uncertain: BoundedMap[str, _Known] = BoundedMap(MAX_UNCERTAIN)
        self._retries: dict[ContainerName, int] = {}
        self._in_flight = {True: 0, False: 0}
        """Queries in flight, by whether the ids are certain."""
        self._order = itertools.count()
        self._queries: PriorityQueue[tuple[int, int, ContainerName | None]] = PriorityQueue()
        self._responses: SimpleQueue[_Answer] = SimpleQueue()
        self._workers = [
            threading.Thread(target=self._work, name=f"container-lookup-{number}", daemon=True)
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """Stop the worker threads after their current query, without waiting for them."""
        for _ in self._workers:
            self._queries.put((-1, next(self._order), None))

    def is_pending(self, name: ContainerName, now: int) -> bool:
        """Return whether the first response is still outstanding; start a query for a new container.

        Nothing waits for a container whose id may be forged.

        Args:
            name: the container.
            now: monotonic nanoseconds.
        """
        known = self._find(name)
        if known is None:
            known = self._first_seen(name)
        elif known.query_at is not None and now >= known.query_at and not known.is_in_flight:
            known.query_at = None
            self._query(known)
        return known.is_pending

    def facts(self, name: ContainerName) -> Container:
        """Return what is known of a container: at least its id, and the runtime type from its cgroup."""
        known = self._find(name)
        return (self._first_seen(name) if known is None else known).facts

    def poll(self, now: int) -> list[str]:
        """Take in responses and repeat the queries that are due.

        Args:
            now: monotonic nanoseconds.

        Returns:
            Keys of the containers that are no longer pending.
        """
        settled = []
        while not self._responses.empty():
            answer = self._responses.get()
            self._in_flight[answer.name.is_certain] -= 1
            known = self._find(answer.name)
            if known is None:
                continue
            known.is_in_flight = False
            was_pending = known.is_pending
            self._take(known, answer, now)
            if was_pending and not known.is_pending:
                settled.append(answer.name.key)
        for name, due in list(self._retries.items()):
            if now >= due:
                del self._retries[name]
                known = self._find(name)
                if known is not None and not known.is_in_flight:
                    was_pending = known.is_pending
                    self._query(known)
                    if was_pending and not known.is_in_flight:
                        settled.append(name.key)
        return settled

    def _find(self, name: ContainerName) -> _Known | None:
        known = self._known.get(name.key)
        return known if known is not None or name.is_certain else self._uncertain.get(name.key)

    def _first_seen(self, name: ContainerName) -> _Known:
        least = Container(id=name.id, full_id=name.full_id, type=name.type, pod_uid=name.pod_uid)
        known = _Known(name, least)
        (self._known if name.is_certain else self._uncertain).put(name.key, known)
        if any(lookup.answers(name) for lookup in self._lookups):
            self._query(known)
            known.is_pending = known.is_in_flight and name.is_certain
        return known

    def _query(self, known: _Known) -> None:
        is_certain = known.name.is_certain
        if self._in_flight[is_certain] >= (MAX_IN_FLIGHT if is_certain else MAX_UNCERTAIN_IN_FLIGHT):
            self.unanswered += 1
            known.is_pending = False
            return
        known.is_in_flight = True
        self._in_flight[is_certain] += 1
        self._queries.put((0 if is_certain else 1, next(self._order), known.name))

    def _take(self, known: _Known, answer: _Answer, now: int) -> None:
        if answer.facts is not None:
            if answer.facts != known.facts:
                known.facts = answer.facts
                self.version += 1
            # Confirmed by its runtime, so the id is no longer in doubt.
            self._known.put(known.name.key, known)
            known.is_pending = False
            if answer.facts.start_ts is None and known.retries == 0:
                self._schedule_retry(known, now)
        elif answer.failure is None:
            if known.retries == 0:
                self._schedule_retry(known, now)
                return
            self.not_found += known.is_pending
            known.is_pending = False
        else:
            self.unanswered += 1
            if now >= self._failure_note_at:
                self._failure_note_at = now + FAILURE_NOTE_INTERVAL
                self._on_failure(f"facts about containers are incomplete: {answer.failure}.")
            known.is_pending = False
            known.query_at = now + FAILURE_DELAY

    def _schedule_retry(self, known: _Known, now: int) -> None:
        known.retries += 1
        self._retries[known.name] = now + RETRY_DELAY

    def _work(self) -> None:
        while (name := self._queries.get()[2]) is not None:
            self._responses.put(self._inspect(name))

    def _inspect(self, name: ContainerName) -> _Answer:
        failure: str | None = None
        for lookup in self._lookups:
            try:
                if not lookup.answers(name):
                    continue
                return _Answer(name, replace(lookup.inspect(name), id=name.id), None)
            except ContainerNotFound:
                continue
            except Exception as error:  # noqa: BLE001 - a bug in one runtime's module must not end the thread for all
                failure = f"{type(error).__name__}: {error}"
        return _Answer(name, None, failure)
