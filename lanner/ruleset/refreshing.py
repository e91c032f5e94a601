"""Refreshes what rules refer to outside of their files, on threads of their own, so that evaluation never waits.

Host names are resolved again and again; files of indicators are read again when they change, which takes seconds for a
million entries.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from queue import SimpleQueue

from foundation.text import OnNote
from processor.compiler.operands import names_by_address
from processor.indicators.lists import Contents, IndicatorList
from processor.loading import LoadedIndicators

REFRESH_SECONDS = 60.0
WORKERS = 4
"""Names that are resolved at the same time."""
MAX_ADDRESSES = 64
"""Per name, so that a compromised name server can't fill the memory."""

Resolve = Callable[[str], Iterable[str]]
"""Returns a name's addresses, none if the name doesn't exist; raises OSError without an answer."""
LOOK_SECONDS = 1.0
_REST = 9
"""The rest after reading, in times that it took: a file that changes all the time takes a tenth of a core."""


def system_resolver(name: str) -> Iterable[str]:
    """Resolve a name with the system's resolver. Raises OSError without an answer."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return ()
        raise
    except UnicodeError:
        return ()
    return dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers)


class HostNames:
    """A table of names by address, refreshed in the background; remembers names that don't exist."""

    def __init__(
        self, names: Iterable[str], *, resolve: Resolve = system_resolver, refresh_seconds: float = REFRESH_SECONDS
    ) -> None:
        """Start resolving the names in rules; without names, no thread is started.

        resolve: resolves one name; called on several threads. refresh_seconds: after them, a name is resolved again.
        """
        self.table: Mapping[str, tuple[str, ...]] = {}
        """Names by address; replaced as a whole, so that readers need no lock."""
        self._order = tuple(names)
        self._resolve = resolve
        self._refresh_seconds = refresh_seconds
        self._answers: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answered = threading.Event()
        self._todo: SimpleQueue[str | None] = SimpleQueue()
        self._pending = self._workers = 0
        if not self._order:
            self._answered.set()
            return
        self._workers = min(WORKERS, len(self._order))
        for target in (self._refresh, *[self._work] * self._workers):
            threading.Thread(target=target, name="lanner-names", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until each name has been resolved once; return whether that happened in time."""
        return self._answered.wait(seconds)

    def stop(self) -> None:
        """Stop resolving; drop pending answers."""
        self._stopped.set()
        for _ in range(self._workers):
            self._todo.put(None)

    def _refresh(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            with self._lock:
                self._pending = len(self._order)
            for name in self._order:
                self._todo.put(name)
            # Slow answers must not pile up: a pass ends before the next begins.
            while not self._stopped.wait(min(1.0, self._refresh_seconds)):
                if self._is_idle() and time.monotonic() - began >= self._refresh_seconds:
                    break

    def _is_idle(self) -> bool:
        with self._lock:
            return self._pending == 0

    def _work(self) -> None:
        while (name := self._todo.get()) is not None and not self._stopped.is_set():
            try:
                addresses: tuple[str, ...] | None = tuple(self._resolve(name))[:MAX_ADDRESSES]
            except OSError:
                # No answer: the previous addresses are likelier to be right than none.
                addresses = None
            self._take(name, addresses)

    def _take(self, name: str, addresses: tuple[str, ...] | None) -> None:
        with self._lock:
            if addresses is not None and self._answers.get(name) != addresses:
                self._answers[name] = addresses
                known = {each: self._answers[each] for each in self._order if each in self._answers}
                self.table = names_by_address(known)
            self._pending -= 1
            if self._pending == 0:
                self._answered.set()


class IndicatorFiles:
    """Follows the files of lists on this host; rules use the new entries from the next event on."""

    def __init__(
        self,
        lists: Iterable[LoadedIndicators],
        on_note: OnNote,
        *,
        look_seconds: float = LOOK_SECONDS,
        on_change: Callable[[IndicatorList, Contents], None] = lambda _, __: None,
    ) -> None:
        """Start to follow; without local files, no thread is started.

        lists: of the active rules. on_note: receives a message for each file that was read again, or can't be.
        look_seconds: how often to look for changes. on_change: receives each list that was read again, and what it held
        before.
        """
        self._lists = [each.indicators for each in lists if each.indicators.is_local]
        self._on_note = on_note
        self._look_seconds = look_seconds
        self._on_change = on_change
        self._failed: dict[str, str] = {}
        self._stopped = threading.Event()
        if self._lists:
            threading.Thread(target=self._run, name="lanner-indicators", daemon=True).start()

    def stop(self) -> None:
        """Stop following."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            for each in self._lists:
                name = each.spec.name
                try:
                    if each.has_changed():
                        began = time.thread_time()
                        former = each.contents
                        each.load()
                        self._on_note(f"indicators {name}: {each.text}.", "info")
                        self._failed.pop(name, None)
                        self._on_change(each, former)
                        self._stopped.wait(_REST * (time.thread_time() - began))
                except OSError as error:
                    self._report(name, error.strerror or str(error))
                except Exception as error:  # noqa: BLE001  one list must not end the others
                    self._report(name, str(error) or type(error).__name__)

    def _report(self, name: str, why: str) -> None:
        if self._failed.get(name) != why:
            self._failed[name] = why
            self._on_note(f"indicators {name}: the file can't be read: {why}; its former entries are used.", "warning")
