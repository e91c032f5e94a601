"""A TCP proxy between client and broker that a test can interrupt."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Link:
    """Forwards TCP connections from its own port; can drop packets or connections."""

    def __init__(self, target: int) -> None:
        """Start forwarding.

        Args:
            target: a port on this machine.
        """
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._is_broken = False
        self._is_closed = False
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Forward nothing but keep connections open, as when a router fails."""
        self._flows.clear()

    def sever(self) -> None:
        """Close all connections, and each new one immediately."""
        self._is_broken = True
        self._end_connections()

    def heal(self) -> None:
        """Forward again; delayed data arrives late."""
        self._is_broken = False
        self._flows.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._flows.set()
        self._listener.close()
        self._end_connections()

    def _end_connections(self) -> None:
        with self._lock:
            ending, self._sockets = self._sockets, set()
        for each in ending:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_broken:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._sockets |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
