"""HTTP POST with verified TLS, bounded time and size, and the proxy from the environment.

Redirects are not followed, because they would send alerts and tokens to any URL that an answer names.
"""

import ssl
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from notifier.delivery.http_errors import failure_reason
from notifier.delivery.outcome import RetryLater
from notifier.webhook.form import Answer
from notifier.webhook.timed import POOLS
from schemas.errors import LannerError

MOST_ANSWER_BYTES = 64 * 1024
"""A longer answer is not read further, and its connection is closed."""
_CHUNK = 8192


class BadProxy(LannerError):
    """The environment's proxy can't be used; the message does not quote it, since it may hold a password."""


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

    def reopen(self) -> None:
        """Reconnect with the next request."""
        self._pool.clear()

    def close(self) -> None:
        """Close the connection."""
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
