"""Finds out about containers without ever making the caller wait.

Runtimes are asked on threads of their own; answers are taken in when the caller asks for them, so that everything
but the questions themselves runs on one thread. What is known of a container outlives it: late events need it.
"""

import itertools
import threading
from collections.abc import Sequence
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
"""Of containers whose ids may be made up: they have room of their own, so that they push out none that is known."""
MAX_ASKED = 1024
"""Questions on their way; a runtime that hangs must not be asked for ever more."""
MAX_UNCERTAIN_ASKED = 32
"""Of these, such about ids that may be made up; they are asked last."""

RETRY_DELAY = 250_000_000
"""Nanoseconds until a container that wasn't known yet, or didn't run yet, is asked for once more."""

FAILURE_DELAY = 30_000_000_000
"""Nanoseconds until a container is asked for again after its runtime didn't answer."""


class ContainerNotFound(LannerError):
    """The runtime doesn't know the container, or knows it in another cgroup."""


class RuntimeUnavailable(LannerError):
    """The runtime couldn't be asked, or gave no sensible answer."""


class ContainerRuntime(Protocol):
    """A container runtime that can be asked; the seam for more of them."""

    def answers(self, name: ContainerName) -> bool:
        """Tell whether this runtime may have the container."""

    def inspect(self, name: ContainerName) -> Container:
        """Ask for its facts, in bounded time, on any thread.

        Raises:
            NotFound: it doesn't know the container.
            Unavailable: it couldn't be asked.
        """


@dataclass(slots=True)
class _Known:
    name: ContainerName
    facts: Container
    is_pending: bool = False
    is_asked: bool = False
    retries: int = 0
    ask_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    name: ContainerName
    facts: Container | None
    failure: str | None
    """Why the runtime couldn't be asked; None where it answered, if only that it doesn't know the container."""


class KnownContainers:
    """What is known of each container by now.

    Args:
        lookups: the runtimes, the one to ask first first.
        workers: threads that ask.
    """

    def __init__(self, lookups: Sequence[ContainerRuntime], workers: int = WORKERS) -> None:
        self.version = 0
        """Goes up when more is known of any container."""
        self.unanswered = 0
        """Containers whose runtime couldn't be asked."""
        self.last_failure: str | None = None
        """Why a runtime couldn't be asked the last time, for a log."""
        self.not_found = 0
        """Containers that no runtime knew."""
        self._lookups = tuple(lookups)
        self._known: BoundedMap[str, _Known] = BoundedMap(MAX_KNOWN)
        self._uncertain: BoundedMap[str, _Known] = BoundedMap(MAX_UNCERTAIN)
        self._later: dict[ContainerName, int] = {}
        self._asked = {True: 0, False: 0}
        """Questions on their way, by whether the names are certain."""
        self._order = itertools.count()
        self._questions: PriorityQueue[tuple[int, int, ContainerName | None]] = PriorityQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._workers = [
            threading.Thread(target=self._work, name=f"container-lookup-{number}", daemon=True)
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """Let the threads end when they have finished what they are at; nobody waits for them."""
        for _ in self._workers:
            self._questions.put((-1, next(self._order), None))

    def is_pending(self, name: ContainerName, now: int) -> bool:
        """Tell whether a first answer is still to come; a container seen for the first time is asked for.

        Nothing waits for one whose id may be made up.

        Args:
            name: the container.
            now: monotonic nanoseconds.
        """
        known = self._find(name)
        if known is None:
            known = self._first_seen(name)
        elif known.ask_at is not None and now >= known.ask_at and not known.is_asked:
            known.ask_at = None
            self._ask(known)
        return known.is_pending

    def facts(self, name: ContainerName) -> Container:
        """Give what is known of a container: at least its id, and the runtime's type as its cgroup says."""
        known = self._find(name)
        return (self._first_seen(name) if known is None else known).facts

    def tick(self, now: int) -> list[str]:
        """Take in answers and ask what is due again.

        Args:
            now: monotonic nanoseconds.

        Returns:
            Keys of the containers that are no longer pending.
        """
        settled = []
        while not self._answers.empty():
            answer = self._answers.get()
            self._asked[answer.name.is_certain] -= 1
            known = self._find(answer.name)
            if known is None:
                continue
            known.is_asked = False
            was_pending = known.is_pending
            self._take(known, answer, now)
            if was_pending and not known.is_pending:
                settled.append(answer.name.key)
        for name, due in list(self._later.items()):
            if now >= due:
                del self._later[name]
                known = self._find(name)
                if known is not None and not known.is_asked:
                    was_pending = known.is_pending
                    self._ask(known)
                    if was_pending and not known.is_asked:
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
            self._ask(known)
            known.is_pending = known.is_asked and name.is_certain
        return known

    def _ask(self, known: _Known) -> None:
        is_certain = known.name.is_certain
        if self._asked[is_certain] >= (MAX_ASKED if is_certain else MAX_UNCERTAIN_ASKED):
            self.unanswered += 1
            known.is_pending = False
            return
        known.is_asked = True
        self._asked[is_certain] += 1
        self._questions.put((0 if is_certain else 1, next(self._order), known.name))

    def _take(self, known: _Known, answer: _Answer, now: int) -> None:
        if answer.facts is not None:
            if answer.facts != known.facts:
                known.facts = answer.facts
                self.version += 1
            # Confirmed by its runtime: no longer one of those that may be made up.
            self._known.put(known.name.key, known)
            known.is_pending = False
            if answer.facts.start_ts is None and known.retries == 0:
                self._again(known, now)
        elif answer.failure is None:
            if known.retries == 0:
                self._again(known, now)
                return
            self.not_found += known.is_pending
            known.is_pending = False
        else:
            self.last_failure = answer.failure
            self.unanswered += 1
            known.is_pending = False
            known.ask_at = now + FAILURE_DELAY

    def _again(self, known: _Known, now: int) -> None:
        known.retries += 1
        self._later[known.name] = now + RETRY_DELAY

    def _work(self) -> None:
        while (name := self._questions.get()[2]) is not None:
            self._answers.put(self._inspect(name))

    def _inspect(self, name: ContainerName) -> _Answer:
        failure: str | None = None
        for lookup in self._lookups:
            try:
                if not lookup.answers(name):
                    continue
                return _Answer(name, replace(lookup.inspect(name), id=name.id), None)
            except ContainerNotFound:
                continue
            except Exception as error:  # noqa: BLE001 - a fault in one runtime's module must not end the thread for all
                failure = f"{type(error).__name__}: {error}"
        return _Answer(name, None, failure)
