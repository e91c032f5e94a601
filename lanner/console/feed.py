"""The one thread that writes the view: alerts and marks in, notices of changes out."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from foundation.text import OnNote
from lanner.console.store.record import record_of
from lanner.console.store.rows import Mark
from lanner.console.store.view import AlertView
from schemas.alert import Alert


class AlertSource(Protocol):
    """Where alerts come from."""

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds. Raises OSError if it can't be read now."""

    def positions(self) -> Mapping[int, int]:
        """Return, by partition, the offset after what was read."""

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return, by topic and partition, the messages that were not read yet; from any thread."""

    def close(self) -> None:
        """Stop reading."""


class MarkLog(Protocol):
    """Where what people decided is stored."""

    def read_all(self) -> Sequence[Mark] | None:
        """Return all marks, once; None if they are not known yet."""

    def read_new(self) -> Sequence[Mark]:
        """Return the marks since the last call."""

    def put(self, mark: Mark) -> None:
        """Store a mark durably. Raises OSError."""

    def close(self) -> None:
        """Stop reading and writing."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action of a person, for the audit log."""

    at: int
    """ns since the epoch."""
    name: str
    role: str
    method: str
    address: str
    """The client's address."""
    action: str
    """sign_in, sign_in_failed, sign_out, acknowledge, assign, comment, mute ..."""
    subject: str = ""
    value: str = ""


class AuditLog(Protocol):
    """Where actions are recorded."""

    def record(self, action: Action) -> None:
        """Record an action durably. Raises OSError."""

    def close(self) -> None:
        """Stop writing."""


POLL_SECONDS = 0.25
MARK_DAYS = 400
"""Age at which decisions are deleted, so that their topic doesn't grow."""
_RETRY_SECONDS = 2.0
_FORGOTTEN_AT_ONCE = 1000
_DAY_NS = 86_400 * 10**9


class ViewFeed:
    """Fills a view until it is stopped."""

    def __init__(
        self,
        view: AlertView,
        source: AlertSource,
        marks: MarkLog,
        *,
        note: OnNote,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Create a feed that is not started; it owns the view, the source and the marks.

        note: called once when reading or writing begins to fail, and once when it works again; clock: ns since the
        epoch.
        """
        self.on_change: Callable[[int], None] = lambda _: None
        """Called on the feed's thread with the number of new alerts, or with 0 when marks changed."""
        self.taken = 0
        self.turned_at = time.monotonic()
        """When the thread's latest iteration began."""
        self.failing_since: float | None = None
        """Since when nothing could be read or written, by a monotonic clock, s; None if it works."""
        self._view = view
        self._source = source
        self._marks = marks
        self._note = note
        self._clock = clock
        self._has_marks = False
        self._decided: queue.SimpleQueue[tuple[Mark, Future[None]]] = queue.SimpleQueue()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-feed", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True if the thread runs."""
        return self._thread.is_alive()

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return, by topic and partition, the messages that were not read yet."""
        return self._source.lag()

    def put(self, mark: Mark) -> None:
        """Store a mark durably, and wait until the view shows it. Raises OSError and TimeoutError."""
        self._marks.put(mark)
        shown: Future[None] = Future()
        self._decided.put((mark, shown))
        shown.result(timeout=10)

    def stop(self) -> None:
        """Stop the thread and close everything."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        waiting: Sequence[Alert] = ()
        try:
            while not self._end.is_set():
                self.turned_at = time.monotonic()
                try:
                    waiting = waiting or self._source.read(POLL_SECONDS if self._decided.empty() else 0)
                    added = self._take(waiting)
                    waiting = ()
                    changed = self._take_marks()
                    while self._view.prune(self._clock()) and not waiting:
                        self.turned_at = time.monotonic()
                        waiting = self._source.read(0)
                except OSError as error:
                    self._failed(error)
                    self._end.wait(_RETRY_SECONDS)
                    continue
                if self.failing_since is not None:
                    self.failing_since = None
                    self._note("console: alerts are taken again.")
                if added or changed:
                    self.on_change(added)
        finally:
            self._source.close()
            self._marks.close()
            self._view.close()

    def _take(self, alerts: Sequence[Alert]) -> int:
        if not alerts:
            return 0
        added = self._view.add(map(record_of, alerts), self._clock(), self._source.positions())
        self.taken += added
        return added

    def _take_marks(self) -> bool:
        if not self._has_marks:
            found = self._marks.read_all()
            if found is not None:
                self._has_marks = True
                self._view.clear_marks()
                self._view.set_marks(found)
                self._forget(found)
        new = self._marks.read_new() if self._has_marks else ()
        self._view.set_marks(new)
        decided: list[Future[None]] = []
        while not self._decided.empty():
            mark, shown = self._decided.get()
            self._view.set_marks([mark])
            decided.append(shown)
        for shown in decided:
            shown.set_result(None)
        return bool(new or decided)

    def _forget(self, marks: Sequence[Mark]) -> None:
        """Delete decisions so old that what they are about is gone."""
        oldest = self._clock() - MARK_DAYS * _DAY_NS
        for mark in [each for each in marks if each.at < oldest][:_FORGOTTEN_AT_ONCE]:
            self._marks.put(replace(mark, value=""))
            self._view.set_marks([replace(mark, value="")])

    def _failed(self, error: OSError) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
            self._note(f"console: alerts can't be taken: {error}.", "error")
