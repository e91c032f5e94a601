"""A stand-in for dockerd: a real server on a real unix socket with responses set by the test."""

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingMixIn, UnixStreamServer
from typing import Any


@dataclass
class Daemon:
    """The server's responses and the requests that it got."""

    path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    is_hanging: bool = False
    hanging: set[str] = field(default_factory=set)
    """Paths that wait for the release before they are answered."""


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def docker_daemon(path: Path) -> Iterator[Daemon]:
    """Serve until the end of the block; a bytes response is sent unchanged, None disconnects."""
    daemon = Daemon(path)

    class Handler(BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "local"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            daemon.requests.append(self.path)
            if daemon.is_hanging:
                daemon.release.wait(30)
                return
            if self.path in daemon.hanging:
                daemon.release.wait(30)
            if self.path not in daemon.answers:
                self._send(404, b'{"message": "No such container"}')
                return
            answer = daemon.answers[self.path]
            if answer is not None:
                self._send(200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield daemon
        finally:
            daemon.release.set()
            server.shutdown()
            thread.join()


@contextmanager
def silent_socket(path: Path) -> Iterator[None]:
    """Listen without accepting: connecting works, but no response comes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(50)
        yield


@contextmanager
def dripping_socket(path: Path, parts: Iterable[bytes]) -> Iterator[None]:
    """Answer each connection with bytes as they come, a hundred times a second, whatever is asked; then close it."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):
                for part in parts:
                    self.request.sendall(part)
                    time.sleep(0.01)

    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for a condition that another thread fulfills."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)
