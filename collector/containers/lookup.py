"""Looks up containers without blocking the caller.

A thread reads a container's bundle, which is there before its first process, and others then query its runtime for what
the bundle lacks. Results are taken in when the caller polls, so everything else runs on the caller's thread. Facts
outlive their container, because late events need them.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import PriorityQueue, SimpleQueue
from typing import Any

from collector.containers.bundle_facts import FACTS, MOBY, completed
from collector.containers.bundles import Bundle, Bundles, with_config
from collector.containers.protocol import ContainerNotFound, ContainerRuntime
from collector.containers.values import ResponseTooLarge
from collector.processes.container_names import ContainerName, container_of, exists
from foundation.caches import BoundedMap
from schemas.batch import Container
from schemas.limits import clipped

WORKERS = 2
MAX_KNOWN = 4096
MAX_UNCERTAIN = 1024
"""Containers whose ids may be forged. They have a cache of their own, so that they evict no confirmed ones."""
MAX_IN_FLIGHT = 1024
"""Queries in flight; limits the backlog of a hanging runtime."""
MAX_UNCERTAIN_IN_FLIGHT = 32
"""Queries in flight about ids that may be forged; they are sent last."""

RETRY_DELAY = 250_000_000
"""Nanoseconds until a container that was unknown or not running yet is queried again; doubles with each attempt."""
MAX_RETRY_DELAY = 60_000_000_000
MAX_RETRIES_FOR_START = 4
"""Retries for a container of which only the start time is missing."""

FAILURE_DELAY = 1_000_000_000
"""Nanoseconds until a container is queried again after its runtime failed to respond, as on a busy host; doubles with
each failure in a row."""
MAX_FAILURE_DELAY = 30_000_000_000
FAILURE_NOTE_INTERVAL = 600_000_000_000
"""Minimum nanoseconds between two messages about failures."""

OUTCOMES = ("runtime", "bundle", "truncated", "not_found", "unanswered")
"""The runtime knew the container; only its bundle was found; one of them has more than is read; nothing was found; the
runtime could not be queried."""

MAX_TEXT_BYTES = 2048
"""Limit of a name, an image reference or another text of a container."""


@dataclass(slots=True)
class _Known:
    name: ContainerName
    facts: Container
    pid: int | None = None
    """A process of the container, through which its shim is found."""
    is_pending: bool = False
    is_in_flight: bool = False
    retries: int = 0
    failures: int = 0
    """Times in a row that its runtime failed to respond."""
    query_at: int | None = None
    unknown_since: int | None = None
    """When its first look-up found nothing, monotonic nanoseconds."""


@dataclass(frozen=True, slots=True)
class _Query:
    name: ContainerName
    pid: int | None
    is_believed: bool
    """True if its bundle counts."""
    runtime: int
    """Index of the first runtime that may have it."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A query whose bundle was read."""

    name: ContainerName
    bundle: Bundle | None
    failure: str | None
    """Why it couldn't be read."""


_Questions = PriorityQueue[tuple[int, int, _Question | None]]


@dataclass(frozen=True, slots=True)
class _Answer:
    name: ContainerName
    facts: Container | None
    failure: str | None = None
    """Why the runtime couldn't be queried; None if it responded, even that it doesn't know the container."""
    is_final: bool = True
    """True if the runtime was queried too; otherwise its response follows."""
    is_complete: bool = False
    """True if the runtime knew the container."""


class KnownContainers:
    """The facts of each container, as far as known.

    Args:
        lookups: the runtimes, in the order in which they are queried.
        bundles: finds what is known before a runtime is queried.
        workers: number of threads that query each runtime.
        on_failure: receives the reason why a runtime couldn't be queried, at most once in FAILURE_NOTE_INTERVAL.
    """

    def __init__(
        self,
        lookups: Sequence[ContainerRuntime],
        bundles: Bundles | None = None,
        workers: int = WORKERS,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.version = 0
        """Increases whenever more becomes known of any container."""
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        """Look-ups that have ended, by outcome."""
        self._lookups = tuple(lookups)
        self._bundles = bundles or Bundles()
        self._on_failure = on_failure
        self._failure_note_at = 0
        self._known: BoundedMap[str, _Known] = BoundedMap(MAX_KNOWN)
        self._uncertain: BoundedMap[str, _Known] = BoundedMap(MAX_UNCERTAIN)
        self._retries: dict[ContainerName, int] = {}
        self._in_flight = {True: 0, False: 0}
        """Queries in flight, by whether the ids are certain."""
        self._order = itertools.count()
        self._queries: PriorityQueue[tuple[int, int, _Query | int | None]] = PriorityQueue()
        self._responses: SimpleQueue[_Answer] = SimpleQueue()
        self._questions: list[_Questions] = [PriorityQueue() for _ in self._lookups]
        """By the runtime that is queried first, so that one that hangs delays no other's containers."""
        self._has_shims, self._has_docker = threading.Event(), False
        self._is_closed = False
        targets: list[Callable[[], None]] = [self._read_bundles, self._survey]
        targets += [partial(self._ask_runtimes, questions) for questions in self._questions for _ in range(workers)]
        self._workers = [
            threading.Thread(target=target, name=f"container-lookup-{number}", daemon=True)
            for number, target in enumerate(targets)
        ]
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """Stop the worker threads after their current query, without waiting for them."""
        self._is_closed = True
        self._has_shims.set()
        self._queries.put((-1, next(self._order), None))
        for questions in self._questions:
            for _ in self._workers:
                questions.put((-1, next(self._order), None))

    def shim_started(self, pid: int) -> None:
        """Note that a runtime's shim started on the host: it reveals the bundle of a container that starts soon."""
        if self._queries.qsize() < MAX_IN_FLIGHT:
            self._queries.put((0, next(self._order), pid))

    def is_pending(self, name: ContainerName, now: int, pid: int | None = None) -> bool:
        """Return whether the first response is still outstanding; start a query for a new container. now: monotonic ns.

        Nothing waits for a container whose id may be forged.
        """
        known = self._find(name)
        if known is None:
            known = self._first_seen(name, pid)
        elif known.query_at is not None and now >= known.query_at and not known.is_in_flight:
            known.query_at = None
            self._query(known)
        return known.is_pending

    @property
    def count(self) -> int:
        """Number of containers of which something is known."""
        return len(self._known)

    def unknown_for(self, now: int) -> int:
        """Return for how long the oldest container has been unknown that is still looked up, ns; 0 if there is none."""
        # A copy, because metrics are read on another thread.
        waiting = map(self._find, list(self._retries))
        return max((now - known.unknown_since for known in waiting if known and known.unknown_since), default=0)

    def facts(self, name: ContainerName) -> Container:
        """Return what is known of a container: at least its id, and the runtime type from its cgroup."""
        known = self._find(name)
        return (self._first_seen(name) if known is None else known).facts

    def poll(self, now: int) -> list[str]:
        """Take in responses and repeat the queries that are due. now: monotonic ns.

        Return the keys of the containers that are no longer pending.
        """
        settled = []
        while not self._responses.empty():
            answer = self._responses.get()
            self._in_flight[answer.name.is_certain] -= answer.is_final
            known = self._find(answer.name)
            if known is None:
                continue
            known.is_in_flight = not answer.is_final
            was_pending = known.is_pending
            self._take(known, answer, now)
            if was_pending and not known.is_pending:
                settled.append(answer.name.key)
        for name, due in list(self._retries.items()):
            if now < due:
                continue
            del self._retries[name]
            known = self._find(name)
            if known is None or known.is_in_flight:
                continue
            # A runtime may know a container that has ended since, so it is queried a second time in any case.
            if known.retries > 1 and not exists(name.cgroup):
                continue
            was_pending = known.is_pending
            self._query(known)
            if was_pending and not known.is_in_flight:
                settled.append(name.key)
        return settled

    def _find(self, name: ContainerName) -> _Known | None:
        known = self._known.get(name.key)
        return known if known is not None or name.is_certain else self._uncertain.get(name.key)

    def _first_seen(self, name: ContainerName, pid: int | None = None) -> _Known:
        known = _Known(name, _least(name), pid)
        (self._known if name.is_certain else self._uncertain).put(name.key, known)
        if any(lookup.answers(name) for lookup in self._lookups):
            self._query(known)
            known.is_pending = known.is_in_flight and self._is_believed(name)
        return known

    def _is_believed(self, name: ContainerName) -> bool:
        """Return whether only root of the host can have made a container's cgroup and its bundle.

        Root in a privileged container is root of the host: so are the nodes of kind, in which pods are nested.
        """
        if not name.outer:
            return name.is_certain
        outer = self._known.get(name.outer)
        if outer is None and (found := container_of(name.outer)) is not None:
            # Looked up first; this one is queried again then.
            outer = self._first_seen(found)
        return outer is not None and outer.name.is_certain and outer.facts.privileged is True

    def _query(self, known: _Known) -> None:
        is_certain = known.name.is_certain
        if self._in_flight[is_certain] >= (MAX_IN_FLIGHT if is_certain else MAX_UNCERTAIN_IN_FLIGHT):
            self.outcomes["unanswered"] += 1
            known.is_pending = False
            return
        known.is_in_flight = True
        self._in_flight[is_certain] += 1
        runtime = next(index for index, lookup in enumerate(self._lookups) if lookup.answers(known.name))
        query = _Query(known.name, known.pid, self._is_believed(known.name), runtime)
        self._queries.put((0 if is_certain else 1, next(self._order), query))

    def _take(self, known: _Known, answer: _Answer, now: int) -> None:
        if answer.facts is None:
            known.unknown_since = known.unknown_since or now
        else:
            known.unknown_since = None
            if answer.facts != known.facts:
                known.facts = answer.facts
                self.version += 1
            # Confirmed by its bundle or its runtime, so the id is no longer in doubt.
            self._known.put(known.name.key, known)
        if not answer.is_final:
            return
        earlier, known.failures = known.failures, 0
        if answer.failure is not None:
            self.outcomes["unanswered"] += 1
            known.query_at = now + min(FAILURE_DELAY << min(earlier, 16), MAX_FAILURE_DELAY)
            known.failures = earlier + 1
            if answer.facts is None or answer.facts.image is None:
                self._note(answer.failure, now)
        elif answer.facts is None:
            if known.retries == 0:
                self._schedule_retry(known, now)
                return
            self.outcomes["not_found"] += known.is_pending
            self._schedule_retry(known, now)
        else:
            source = "runtime" if answer.is_complete else "bundle"
            self.outcomes["truncated" if answer.facts.is_truncated else source] += 1
            if answer.facts.is_truncated:
                self._note(f"{known.name.full_id} has more than is read of a container", now)
            if answer.facts.start_ts is None and known.retries < MAX_RETRIES_FOR_START:
                self._schedule_retry(known, now)
        known.is_pending = False

    def _note(self, failure: str, now: int) -> None:
        if now >= self._failure_note_at:
            self._failure_note_at = now + FAILURE_NOTE_INTERVAL
            self._on_failure(f"facts about containers are incomplete: {failure}.")

    def _schedule_retry(self, known: _Known, now: int) -> None:
        """Query a container again later: until it is known, or its cgroup is gone."""
        if len(self._retries) < MAX_KNOWN:
            self._retries[known.name] = now + min(RETRY_DELAY << min(known.retries, 16), MAX_RETRY_DELAY)
        known.retries += 1

    def _read_bundles(self) -> None:
        """Read bundles on a thread of its own, because no runtime that hangs may keep a container from its facts."""
        while (query := self._queries.get()[2]) is not None:
            # A bug must not end the thread for all containers.
            if isinstance(query, int):
                with suppress(Exception):
                    if (namespace := self._bundles.learn(query)) is not None:
                        self._has_docker |= namespace == MOBY
                        self._has_shims.set()
                continue
            bundle, failure = None, None
            try:
                bundle = self._bundles.find(query.name, query.pid) if query.is_believed else None
                if bundle is not None:
                    self._respond_early(query.name, bundle.facts)
            except Exception as error:  # noqa: BLE001 - as above
                failure = f"{type(error).__name__}: {error}"
            question = _Question(query.name, bundle, failure)
            self._questions[query.runtime].put((0 if query.name.is_certain else 1, next(self._order), question))

    def _survey(self) -> None:
        """Survey the bundles; once a shim has started, import what queries need, which no other thread may wait for."""
        with suppress(Exception):
            self._bundles.survey()
        self._has_shims.wait()
        if not self._is_closed:
            # Both take longer than a container may live.
            if self._has_docker:
                import collector.containers.unix_http  # noqa: PLC0415
            import collector.containers.grpc  # noqa: F401, PLC0415

    def _ask_runtimes(self, questions: _Questions) -> None:
        while (question := questions.get()[2]) is not None:
            self._responses.put(self._inspect(question))

    def _inspect(self, question: _Question) -> _Answer:
        name, bundle, failure = question.name, question.bundle, question.failure
        least: Container | None = None
        try:
            if bundle is not None:
                least = bounded(replace(bundle.facts, id=name.id))
                if bundle.config is not None:
                    bundle = with_config(bundle, name)
                    least = self._respond_early(name, bundle.facts)
        except ResponseTooLarge:
            # Its facts state that.
            pass
        except Exception as error:  # noqa: BLE001 - a bug must not end the thread for all containers
            failure = f"{type(error).__name__}: {error}"
        for lookup in self._lookups:
            try:
                if not lookup.answers(name):
                    continue
                if (early := lookup.listed(name)) is not None:
                    is_truncated = early.is_truncated or (least is not None and least.is_truncated)
                    least = self._respond_early(name, completed(replace(early, is_truncated=is_truncated), least))
                facts = bounded(replace(lookup.inspect(name, bundle), id=name.id))
                return _Answer(name, completed(facts, least), is_complete=True)
            except ContainerNotFound:
                continue
            except ResponseTooLarge:
                least = replace(least or _least(name), is_truncated=True)
            except Exception as error:  # noqa: BLE001 - as above, in one runtime's module
                failure = f"{type(error).__name__}: {error}"
        return _Answer(name, least, failure)

    def _respond_early(self, name: ContainerName, facts: Container) -> Container:
        """Respond with what is known so far: events that can't wait any longer have that."""
        least = bounded(replace(facts, id=name.id))
        self._responses.put(_Answer(name, least, is_final=False))
        return least


def _least(name: ContainerName) -> Container:
    return Container(id=name.id, full_id=name.full_id, type=name.type, pod_uid=name.pod_uid)


def bounded(facts: Container) -> Container:
    """Return facts with each text clipped, whoever chose it; labels and mounts have limits of their own."""
    long: dict[str, Any] = {
        name: clipped(value, MAX_TEXT_BYTES)
        for name in FACTS
        if isinstance(value := getattr(facts, name), str) and len(value) > MAX_TEXT_BYTES // 4
    }
    return replace(facts, **long) if long else facts
