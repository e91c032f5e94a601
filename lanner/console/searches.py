"""Runs searches, each on a thread of its own, a limited number at once."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from lanner.console.workers import WorkLimit
from lanner.errors import BadInput
from lanner.recorder.search import EventSearch, FoundEvent, SearchCondition, SearchProblem, compile_search
from lanner.recorder.store import EventRange, EventStore
from processor.loading import RuleFile
from processor.output.redaction import Redaction

MAX_OF_ONE, MAX_IN_ALL = 2, 6
_BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SearchSource:
    """The events that a console can search."""

    store: EventStore
    described: str
    """In words."""
    files: Callable[[], Sequence[RuleFile]] = tuple
    """Rule files whose macros and lists conditions may use. Raises BadInput."""
    redaction: Redaction = field(default_factory=Redaction)


@dataclass(frozen=True, slots=True)
class SearchState:
    """The findings of a search since the last one of these, and its progress."""

    search: EventSearch | None
    """None while the source is opened."""
    found: Sequence[FoundEvent] = ()


class SearchDesk:
    """Starts searches, and ends those whose reader went away."""

    def __init__(self, source: SearchSource) -> None:
        self.source = source
        self._limit = WorkLimit(
            MAX_IN_ALL,
            0,
            MAX_OF_ONE,
            busy=f"{MAX_IN_ALL} searches run already; try again when one has ended.",
            own=f"{MAX_OF_ONE} of your searches run already; stop one of them first.",
        )
        self._ends: set[threading.Event] = set()

    async def run(self, person: str, condition: str, events: EventRange) -> AsyncGenerator[SearchState]:
        """Yield the states of a search, at least one a second; closing the generator ends it. events: with an end.

        Raises TooManyAtOnce and BadCondition before the first state, BadInput if the events can't be read, and
        BusUnavailable.
        """
        await self._limit.take(person)
        stop = threading.Event()
        self._ends.add(stop)
        thread = ThreadPoolExecutor(1, "console-search")
        loop = asyncio.get_running_loop()
        close: Callable[[], None] = lambda: None  # noqa: E731
        try:
            compiled = await loop.run_in_executor(thread, self._compile, condition)
            yield SearchState(None)
            search = EventSearch(compiled, self.source.store, events, stop.is_set, redaction=self.source.redaction)
            close = search.events.close
            parts, opened = search.run(), False
            while True:
                part = loop.run_in_executor(thread, next, parts, None)
                while not (await asyncio.wait((part,), timeout=_BEAT_SECONDS))[0]:
                    yield SearchState(search if opened else None)
                found = part.result()
                if found is None:
                    break
                opened = True
                yield SearchState(search, found)
            yield SearchState(search)
        finally:
            stop.set()
            self._ends.discard(stop)
            # A step that is under way ends within a poll; only then the source may be closed.
            loop.run_in_executor(thread, close).add_done_callback(lambda _: self._limit.release(person))
            thread.shutdown(wait=False)

    def close(self) -> None:
        """End all searches."""
        for stop in list(self._ends):
            stop.set()

    def _compile(self, text: str) -> SearchCondition:
        try:
            files = self.source.files()
        except BadInput as error:
            warning = SearchProblem(f"macros and lists of rules are unknown: {error}")
            compiled = compile_search(text, ())
            return replace(compiled, warnings=(warning, *compiled.warnings))
        return compile_search(text, files)
