"""One HTTP POST and its answer: verified, bounded in time and size, through the proxy that the environment names.

Redirects are not followed: they would carry alerts and tokens to wherever an answer says.
"""

import ssl
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from notifier.delivery.http_errors import in_words
from notifier.delivery.outcome import RetryLater
from notifier.webhook.answer import Answer
from notifier.webhook.timed import POOLS
from schemas.errors import LannerError

MOST_ANSWER_BYTES = 64 * 1024
"""More of an answer is not read, and its connection is given up."""
_CHUNK = 8192


class BadProxy(LannerError):
    """The environment names a proxy that can't be used; the message doesn't quote it, since it may hold a password."""


class Poster:
    """Keeps a connection to one address."""

    def __init__(self, url: str, *, context: ssl.SSLContext, seconds: float) -> None:
        """Begin unconnected.

        Args:
            url: a secret as a whole, never put into a message.
            context: verifies the far end.
            seconds: that connecting, and then a whole answer, may take.

        Raises:
            BadProxy: no HTTP proxy.
        """
        self._url = url
        self._seconds = seconds
        self._pool = _pool(url, context)
        self._pool.pool_classes_by_scheme = POOLS

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer | RetryLater:
        """Post once, or say why there is no answer."""
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
            return RetryLater(_in_words(error))

    def reopen(self) -> None:
        """Connect anew with the next request."""
        self._pool.clear()

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.clear()


def _pool(url: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(num_pools=1, maxsize=1, ssl_context=context)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    place = urlsplit(proxy)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise BadProxy(f"${parts.scheme.upper()}_PROXY must be the http:// or https:// address of a proxy.")
    credentials = f"{unquote(place.username)}:{unquote(place.password or '')}" if place.username else None
    return urllib3.ProxyManager(
        f"{place.scheme}://{place.netloc.rpartition('@')[2]}",
        num_pools=1,
        maxsize=1,
        ssl_context=context,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=credentials) if credentials else None,
    )


def _read(response: urllib3.BaseHTTPResponse) -> Answer:
    """Read an answer's beginning."""
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


def _in_words(error: BaseException) -> str:
    """Say what a failure came to; urllib3's own messages quote addresses."""
    if isinstance(error, urllib3.exceptions.ProxyError):
        return f"its proxy: {in_words(_root(error))}"
    return in_words(_root(error))


def _root(error: BaseException) -> BaseException:
    """Find what lies under urllib3's errors."""
    if isinstance(error, urllib3.exceptions.HTTPError):
        for each in (error.__cause__, *error.args):
            if isinstance(each, OSError | HTTPException | urllib3.exceptions.HTTPError):
                return _root(each)
        if isinstance(error, urllib3.exceptions.TimeoutError):
            return TimeoutError()
        if isinstance(error, urllib3.exceptions.ProtocolError):
            return HTTPException()
    return error
