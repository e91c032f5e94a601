"""What servers that take events over HTTP share: their thread, the token that they may require, and plain answers."""

import base64
import binascii
import hmac
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from notifier.intake.http_thread import CONNECTION, HttpLimits, HttpThread
from schemas.text.notes import OnNote, ignore_note


class HttpIntake(ABC):
    """An HTTP server on its own thread."""

    def __init__(
        self,
        name: str,
        limits: HttpLimits,
        *,
        token: bytes = b"",
        context: ssl.SSLContext | None = None,
        decompresses_requests: bool = True,
        report: OnNote = ignore_note,
    ) -> None:
        """Create a server that is not started.

        Args:
            name: of the thread and its log.
            limits: bounds on what clients can use.
            token: required as a bearer token or as the password of a URL; empty for none.
            context: for TLS, with or without client certificates; None for plain HTTP.
            decompresses_requests: whether the application gets the bodies of requests decompressed.
            report: called when connections are closed for lack of room.
        """
        self._token = token
        self._http = HttpThread(
            name,
            self._application,
            limits,
            context,
            decompresses_requests=decompresses_requests,
            report=report,
        )

    @abstractmethod
    def _application(self) -> AbstractAsyncContextManager[web.Application]:
        """Make the application, on the loop that uses it."""

    def start(self, host: str, port: int) -> None:
        """Start listening. Raises OSError if that fails, and what the bus raises when it is opened."""
        self._http.start(host, port)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._http.port

    @property
    def closed(self) -> Counter[str]:
        """Connections that it closed, by reason."""
        return self._http.closed

    @property
    def is_alive(self) -> bool:
        """Whether the server thread runs."""
        return self._http.is_alive

    def stop(self, seconds: float) -> None:
        """Stop; wait so many seconds for requests in progress."""
        self._http.stop(seconds)

    def _denied(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request without the token; None if it has it or none is required."""
        if not self._token:
            return None
        if hmac.compare_digest(_token_of(request.headers.get("Authorization", "")), self._token):
            request[CONNECTION].is_known = True
            return None
        return text_answer(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})


def text_answer(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer that is one line of text."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)


async def health(_: web.Request) -> web.Response:
    """Answer that the server runs."""
    return web.json_response({"status": "ok"})


def _token_of(header: str) -> bytes:
    """Return a request's token: a bearer token, or the password of a URL, which is all that Falco can send."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""
