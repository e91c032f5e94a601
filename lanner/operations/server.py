"""A small HTTP server for metrics and health: few connections, short ones, GET only, on a thread of its own.

The standard library's server takes a thread a connection, as many as come and for as long as they like; here both are
bounded, since the process that it looks into runs as root.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
TEXT = "text/plain; charset=utf-8"
_MOST_CONNECTIONS = 16
_SECONDS = 5.0
"""A request and its answer take so long at most, all together."""


class Server:
    """Answers at fixed paths."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Answer]]) -> None:
        """Listen; answering begins with start. Raises OSError.

        Args:
            host: address or name.
            port: 0 for one that is free.
            pages: path to what gives the answer; called on several threads.
        """
        self._server = _Bounded(host, port, pages)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


class _Bounded(ThreadingHTTPServer):
    # Another process on the port is an error to be told of, never one to share it with.
    allow_reuse_port = False
    daemon_threads = True
    block_on_close = False
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Answer]]) -> None:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.pages = pages
        self._open: dict[Any, float] = {}
        self._lock = threading.Lock()
        super().__init__(found[0][4][:2], _Handler)  # type: ignore[arg-type]  # a name or an address, and a port

    def server_bind(self) -> None:
        """Bind without asking the resolver for our own name, as the standard library does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  the library's call
        """Take a connection, if there are not too many."""
        with self._lock:
            if len(self._open) >= _MOST_CONNECTIONS:
                return False
            self._open[request] = time.monotonic()
        return True

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, and close it."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off what takes too long: a timeout of the socket bounds each read, but not their number."""
        now = time.monotonic()
        with self._lock:
            slow = [request for request, since in self._open.items() if now - since > _SECONDS]
        for request in slow:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Bounded
    timeout = _SECONDS
    server_version = "lanner"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        if page is None:
            known = " ".join(self.server.pages)
            self._send((HTTPStatus.NOT_FOUND, TEXT, f"there is nothing here; there are: {known}\n".encode()))
            return
        try:
            answer = page()
        except Exception as error:  # noqa: BLE001  whoever looks must be told, and the stage goes on
            answer = (HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, f"a fault in Lanner itself: {error!r:.200}\n".encode())
        self._send(answer)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self.do_GET()

    def _send(self, answer: Answer) -> None:
        status, kind, body = answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the library's names
        """Keep no log of requests: they come every few seconds."""
