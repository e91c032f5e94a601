"""HTTP POST with verified TLS, bounded time and size, and the proxy from the environment.

Redirects are not followed, because they would send alerts and tokens to any URL that an answer names.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from foundation.errors import LannerError
from notifier.sink import RetryLater
from notifier.sinks.http import failure_reason
from notifier.sinks.webhook.formats import Answer


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


MOST_ANSWER_BYTES = 64 * 1024
"""A longer answer is not read further, and its connection is closed."""
_CHUNK = 8192


class BadProxy(LannerError):
    """The environment's proxy can't be used; the message does not quote it, since it may contain a password."""


class Poster:
    """Keeps a connection to one URL."""

    def __init__(self, url: str, *, context: ssl.SSLContext, seconds: float) -> None:
        """Create an unconnected poster.

        Args:
            url: secret, never part of a message.
            context: verifies the server.
            seconds: limit for connecting, and again for the whole answer.

        Raises:
            BadProxy: the environment's proxy is not an HTTP proxy.
        """
        self._url = url
        self._seconds = seconds
        self._pool = _pool(url, context)
        self._pool.pool_classes_by_scheme = POOLS

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer | RetryLater:
        """Post once; return the answer, or why there is none."""
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._seconds, read=self._seconds),
            )
            return _read(response)
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
            return RetryLater(_reason(error))

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._pool.clear()


def _pool(url: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(num_pools=1, maxsize=1, ssl_context=context)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    parsed = urlsplit(proxy)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise BadProxy(f"${parts.scheme.upper()}_PROXY must be the http:// or https:// URL of a proxy.")
    credentials = f"{unquote(parsed.username)}:{unquote(parsed.password or '')}" if parsed.username else None
    return urllib3.ProxyManager(
        f"{parsed.scheme}://{parsed.netloc.rpartition('@')[2]}",
        num_pools=1,
        maxsize=1,
        ssl_context=context,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=credentials) if credentials else None,
    )


def _read(response: urllib3.BaseHTTPResponse) -> Answer:
    """Read the beginning of an answer."""
    pieces: list[bytes] = []
    size = 0
    while size < MOST_ANSWER_BYTES and (piece := response.read1(_CHUNK)):
        pieces.append(piece)
        size += len(piece)
    if size >= MOST_ANSWER_BYTES:
        response.close()
    else:
        response.release_conn()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, b"".join(pieces))


def _reason(error: BaseException) -> str:
    """Return why a request failed; urllib3's own messages quote URLs."""
    if isinstance(error, urllib3.exceptions.ProxyError):
        return f"its proxy: {failure_reason(_root(error))}"
    return failure_reason(_root(error))


def _root(error: BaseException) -> BaseException:
    """Return the error that urllib3's errors wrap."""
    if isinstance(error, urllib3.exceptions.HTTPError):
        for each in (error.__cause__, *error.args):
            if isinstance(each, OSError | HTTPException | urllib3.exceptions.HTTPError):
                return _root(each)
        if isinstance(error, urllib3.exceptions.TimeoutError):
            return TimeoutError()
        if isinstance(error, urllib3.exceptions.ProtocolError):
            return HTTPException()
    return error
