"""HTTP connections with a timeout for the whole answer, so that a server that drips bytes times out too.

A socket's timeout covers a single read, and http.client and urllib3 add no other.
"""

import http.client
import io
import socket
import time
from contextlib import suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _Timed(io.RawIOBase):
    """Reads from a socket until its timeout has passed once, over all reads together."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # The file keeps the socket open if the connection is closed before the answer is read.
        self._file = sock.makefile("rb", buffering=0)
        self._seconds = sock.gettimeout() or 0.0
        self._until = time.monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            with suppress(OSError):
                # For the next request on the same connection.
                self._sock.settimeout(self._seconds)
            self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock))


class _Plain(HTTPConnection):
    response_class = _Answer


class _Secure(HTTPSConnection):
    response_class = _Answer


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


POOLS = {"http": _PlainPool, "https": _SecurePool}
"""For `PoolManager.pool_classes_by_scheme`."""
