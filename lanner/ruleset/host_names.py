"""Keeps the addresses of the host names that rules ask about, on threads of its own: judging never waits for a name."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from queue import SimpleQueue

from processor.compiler.host_names import names_by_address
from schemas.batch import EventBatch

REFRESH_SECONDS = 60.0
WORKERS = 4
MAX_ADDRESSES = 64
"""Of one name; a name server that is taken over must not fill our memory."""

Resolve = Callable[[str], Iterable[str]]
"""Gives a name's addresses, none where the name isn't there; raises OSError where nobody answers."""


def system_resolver(name: str) -> Iterable[str]:
    """Ask the system's own resolver. Raises OSError where it gets no answer."""
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
    """The table of names by address, refreshed in the background; a name that isn't there is remembered as such."""

    def __init__(
        self,
        names: Iterable[str],
        *,
        resolve: Resolve = system_resolver,
        refresh_seconds: float = REFRESH_SECONDS,
        workers: int = WORKERS,
    ) -> None:
        """Begin to ask; without names nothing is started.

        Args:
            names: that rules ask about.
            resolve: asks for one; called on several threads.
            refresh_seconds: after which a name is asked for again.
            workers: names asked about at a time.
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
        self._pending = 0
        if not self._order:
            self._answered.set()
            return
        self._workers = min(workers, len(self._order))
        for target in (self._ask_anew, *[self._work] * self._workers):
            threading.Thread(target=target, name="lanner-names", daemon=True).start()

    def named(self, batch: EventBatch) -> EventBatch:
        """Give a batch the names that are known now."""
        batch.names = self.table
        return batch

    def wait(self, seconds: float) -> bool:
        """Wait until each name has been asked about once; tell whether that came in time."""
        return self._answered.wait(seconds)

    def stop(self) -> None:
        """Ask no more; what is on its way is dropped."""
        self._stopped.set()
        for _ in range(getattr(self, "_workers", 0)):
            self._todo.put(None)

    def _ask_anew(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            with self._lock:
                self._pending = len(self._order)
            for name in self._order:
                self._todo.put(name)
            # Slow answers must not pile up: a round ends before the next begins.
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
                # Nobody answered: what was known is likelier to be right than nothing.
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
