"""A small HTTP server for metrics and health: few, short connections, GET only, on one thread.

Any local user may connect, and the process may run as root, so the number, size and duration of requests are bounded.
"""

import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import lanner
from foundation.connections import ClientGroups, ConnectionBound, Waits
from foundation.text import OnNote, ignore_note
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.health import Health, HealthCheck, report

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
TEXT = "text/plain; charset=utf-8"
_MOST_CONNECTIONS = 128
_BACKLOG = 1024
_SECONDS = 5.0
"""Time limit for a request and its response together."""
_MOST_REQUEST_BYTES = 8 << 10
_TURN_SECONDS = 0.2
_ACCEPTED_AT_ONCE = 32


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    group: str
    since: float
    is_known: bool = False
    received: bytes = b""
    answer: memoryview | None = None
    """The bytes left to send; None until the request is complete."""

    @property
    def waits(self) -> Waits:
        return Waits.REQUEST if self.answer is None else Waits.ANSWER


class Server:
    """Serves fixed paths."""

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Callable[[], Answer]], report: OnNote = ignore_note
    ) -> None:
        """Listen on a port, 0 for any free one; serving begins with start. Raises OSError.

        Pages are made on the server's thread. report: called when connections are closed for lack of room.
        """
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._pages = pages
        self._open: dict[socket.socket, _Connection] = {}
        """Oldest first."""
        self._bound = ConnectionBound("metrics", _MOST_CONNECTIONS, report=report)
        self._groups = ClientGroups()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def closed(self) -> Counter[str]:
        """Connections that it closed, by reason."""
        return self._bound.closed

    def start(self) -> None:
        """Start the server's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and close all connections."""
        self._end.set()
        self._thread.join()
        for connection in list(self._open.values()):
            self._close(connection)
        self._selector.close()
        self._socket.close()
        self._groups.close()

    def _run(self) -> None:
        while not self._end.is_set():
            for key, _ in self._selector.select(_TURN_SECONDS):
                if key.data is None:
                    self._accept()
                elif key.data.socket in self._open:
                    self._go_on(key.data)
            oldest_allowed = time.monotonic() - _SECONDS
            for connection in [each for each in self._open.values() if each.since < oldest_allowed]:
                self.closed["timeout"] += 1
                self._close(connection)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                taken, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # This process is out of file descriptors or memory.
                self._end.wait(_TURN_SECONDS)
                return
            taken.setblocking(False)
            connection = _Connection(taken, self._groups.of(taken), time.monotonic())
            if (closed := self._bound.admit(self._open.values(), connection)) is not None:
                self._close(closed)
            self._open[taken] = connection
            self._selector.register(taken, selectors.EVENT_READ, connection)
            # Most clients have sent the request by now.
            self._go_on(connection)

    def _go_on(self, connection: _Connection) -> None:
        try:
            if connection.answer is None:
                self._receive(connection)
            if connection.answer is not None:
                self._send(connection, connection.answer)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(_MOST_REQUEST_BYTES)
        if not data:
            raise ConnectionResetError
        connection.received += data
        head, end, _ = connection.received.partition(b"\r\n\r\n")
        if end:
            connection.answer = memoryview(b"".join(self._answered(head)))
        elif len(connection.received) > _MOST_REQUEST_BYTES:
            raise ConnectionResetError

    def _send(self, connection: _Connection, answer: memoryview) -> None:
        while answer:
            try:
                sent = connection.socket.send(answer)
            except BlockingIOError:
                connection.answer = answer
                self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
                return
            answer = answer[sent:]
        connection.socket.shutdown(socket.SHUT_WR)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        del self._open[connection.socket]
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _answered(self, head: bytes) -> Iterator[bytes]:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        method, path = (words[0], words[1].partition("?")[0]) if len(words) == 3 else ("", "")
        status, kind, body = self._page(method, path)
        yield (
            f"HTTP/1.0 {status} {HTTPStatus(status).phrase}\r\nServer: lanner\r\nConnection: close\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n\r\n"
        ).encode("latin-1")
        if method != "HEAD":
            yield body

    def _page(self, method: str, path: str) -> Answer:
        if not method:
            return HTTPStatus.BAD_REQUEST, TEXT, b"bad request\n"
        if method not in ("GET", "HEAD"):
            return HTTPStatus.NOT_IMPLEMENTED, TEXT, b"only GET is supported\n"
        page = self._pages.get(path)
        if page is None:
            known = " ".join(self._pages)
            return HTTPStatus.NOT_FOUND, TEXT, f"not found; pages: {known}\n".encode()
        try:
            return page()
        except Exception as error:  # noqa: BLE001  report it to the client; the stage goes on
            return (
                HTTPStatus.INTERNAL_SERVER_ERROR,
                TEXT,
                f"internal error; this is a bug in Lanner: {error!r:.200}\n".encode(),
            )


_KIND = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def serving(
    listen: tuple[str, int], stage: str, read: Callable[[], Readings], health: Health, on_note: OnNote = ignore_note
) -> Iterator[Server]:
    """Serve metrics and health at an address and port, 0 for any free one, until exit. Needs prometheus_client.

    on_note is called when connections are closed for lack of room. Raises OSError if the address can't be listened on.
    """
    from lanner.operations.exposition import Exposition  # noqa: PLC0415  optional dependency

    def readings() -> Readings:
        found = _steady(read)
        closed = {**found.get(CLOSED, {}), **closed_connections("metrics", server.closed)}
        return {"lanner_build_info": {(stage, lanner.__version__): 1.0}, **found, CLOSED: closed}

    exposition = Exposition(readings)
    pages: dict[str, Callable[[], Answer]] = {
        "/metrics": lambda: (HTTPStatus.OK, _KIND, exposition.text()),
        "/healthz": lambda: _answer([*health.alive(), *health.well()]),
        "/readyz": lambda: _answer(health.ready()),
        "/livez": lambda: _answer(health.alive()),
    }
    server = Server(*listen, pages, on_note)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _answer(checks: Sequence[HealthCheck]) -> Answer:
    is_good, text = report(checks)
    return (HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE), TEXT, text.encode()


def _steady(read: Callable[[], Readings]) -> Readings:
    """Read what another thread is writing: if a dict grew during the read, read again."""
    for _ in range(3):
        try:
            return read()
        except RuntimeError:
            continue
    return read()
