"""The checks that every request passes: address, rate limit, sign-in, origin; and the headers of every answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from aiohttp import web

from foundation.errors import LannerError
from foundation.http_server import CONNECTION
from foundation.throttling import RateLimit
from lanner.console.server.context import CLIENT, IDENTITY, VERSION, Console, client_group, console, peer_address
from lanner.console.server.rendering import page
from lanner.console.workers import NotReadable
from lanner.errors import BadRequest, TooManyAtOnce

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
COOKIE, SECURE_COOKIE = "lanner_session", "__Host-lanner_session"
REQUEST_HEADER = "X-Lanner-Request"
"""Requests that change something carry it: a page of another origin can't set it."""
_FOR_PROGRAMS = ("/api/", "/metrics")
CALLBACK = "/sign-in/oidc/callback"
"""Where browsers come back from the OpenID provider."""
OPEN_PATHS = ("/healthz", "/sign-in", "/static/", "/favicon.ico")
"""Beginnings of the paths that need no sign-in."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lanner"
)
_HEADERS = {
    "Server": "lanner",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_SAFE = ("GET", "HEAD")
_WITHOUT_PAGES = ("/static/", "/metrics", "/healthz", "/favicon.ico")
_MAX_PATH = 200
_TITLES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "Not a valid filter",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available now",
}
"""Titles of the pages of errors."""
_LOG = logging.getLogger("lanner.console")


def cookie_name(made: Console) -> str:
    """Return the name of the session cookie: by HTTPS, one that no other host can set."""
    return SECURE_COOKIE if made.is_secure else COOKIE


def middlewares(
    limit: RateLimit[str], sign_in_limit: RateLimit[str], callback_limit: RateLimit[str]
) -> list[Callable[..., Awaitable[web.StreamResponse]]]:
    """Return the middlewares, outermost first, with limits by client: of all requests, and of attempts to sign in.

    callback_limit: of returns from the OpenID provider; each is a request to it, and a line of the log.
    """

    @web.middleware
    async def headers(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[VERSION] = console(request).hub.version
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                console(request).answered[error.status] += 1
                error.headers.update(policy_headers(request))
                raise
            answer = _failure(request, error)
        except Exception as error:  # noqa: BLE001  it fails this request only
            answer = _refused(request, error)
        console(request).answered[answer.status] += 1
        if not answer.prepared:
            for name, value in policy_headers(request).items():
                answer.headers.setdefault(name, value)
        return answer

    @web.middleware
    async def bounds(request: web.Request, handler: Handler) -> web.StreamResponse:
        made, group = console(request), client_group(request)
        if made.hosts and request.host.lower() not in made.hosts:
            # A page of another site may point its own name at this address (DNS rebinding).
            return failure(request, HTTPStatus.MISDIRECTED_REQUEST, "This console is not served under this name.")
        session = request.cookies.get(cookie_name(made), "")
        found = await asyncio.to_thread(
            made.sign_in.by_request, peer_address(request), request.headers, session, made.clock() // 1_000_000_000
        )
        client = group
        if found is not None:
            request[IDENTITY] = found
            if found.method != "local":
                # People of one office share an address, but not a limit.
                client = f"{found.method} {found.name}"
                request[CONNECTION].is_known = True
        request[CLIENT] = client
        now = time.monotonic()
        # A page has about twenty files, which cost no more than a refusal.
        is_file = request.path.startswith("/static/")
        is_allowed = is_file or limit.take(client, now)
        if request.path == CALLBACK:
            is_allowed = is_allowed and callback_limit.take(group, now)
        elif request.path.startswith("/sign-in") and request.method == "POST":
            is_allowed = is_allowed and sign_in_limit.take(group, now)
        if not is_allowed:
            answer = failure(request, HTTPStatus.TOO_MANY_REQUESTS, "Too many requests; wait a few seconds.")
            answer.headers["Retry-After"] = "5"
            return answer
        return await handler(request)

    @web.middleware
    async def signed_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        if IDENTITY not in request and not request.path.startswith(OPEN_PATHS):
            if request.path.startswith(_FOR_PROGRAMS) or request.method not in _SAFE:
                answer = failure(request, HTTPStatus.UNAUTHORIZED, "Sign in first.")
                answer.headers["WWW-Authenticate"] = "Bearer"
                return answer
            raise web.HTTPSeeOther(f"/sign-in?next={quote(request.path_qs, safe='')}")
        if request.method not in _SAFE and (why := _foreign(request, console(request))):
            return failure(request, HTTPStatus.FORBIDDEN, why)
        return await handler(request)

    return [headers, bounds, signed_in]


def failure(request: web.Request, status: int, message: str) -> web.Response:
    """Return an error: JSON for programs, for people a page with a way back if it has a title, else text."""
    if request.path.startswith("/api/"):
        return web.json_response({"error": message}, status=status)
    if status in _TITLES and request.method in _SAFE and not request.path.startswith(_WITHOUT_PAGES):
        return page(request, "message.html", status, title=_TITLES[status], message=message)
    return web.Response(status=status, text=f"{message}\n")


async def json_body(request: web.Request) -> Any:
    """Return a request's JSON. Raises BadRequest."""
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise BadRequest("the body must be JSON.") from None


class NotFound(LannerError):
    """The request's address names nothing that the console has; the message is a sentence."""


_STATUSES: Mapping[type[Exception], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    TooManyAtOnce: HTTPStatus.TOO_MANY_REQUESTS,
    NotReadable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def _refused(request: web.Request, error: Exception) -> web.Response:
    status, message = _STATUSES.get(type(error)), str(error)
    if isinstance(error, OSError):
        _LOG.warning("%s", error)
        status, message = HTTPStatus.SERVICE_UNAVAILABLE, "This can't be read or written now; try again."
    elif status is None:
        _LOG.error("internal error; this is a bug in Lanner", exc_info=error)
        status, message = HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error; this is a bug in Lanner."
    return failure(request, status, message)


def _failure(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    text = error.text or error.reason
    if error.status == HTTPStatus.NOT_FOUND:
        text = f"There is no page at the address {request.path[:_MAX_PATH]}."
    answer = failure(request, error.status, text)
    for name in ("Allow", "WWW-Authenticate"):
        if name in error.headers:
            answer.headers[name] = error.headers[name]
    return answer


def policy_headers(request: web.Request) -> dict[str, str]:
    """Return the headers that every answer has."""
    found = dict(_HEADERS)
    is_static = request.path.startswith("/static/")
    found["Cache-Control"] = "no-cache" if is_static else "no-store"
    if console(request).is_secure:
        found["Strict-Transport-Security"] = "max-age=31536000"
    return found


async def event_stream(request: web.Request) -> web.StreamResponse:
    """Begin an answer of server-sent events."""
    answer = web.StreamResponse(headers=policy_headers(request) | {"X-Accel-Buffering": "no"})
    answer.content_type = "text/event-stream"
    await answer.prepare(request)
    return answer


def _foreign(request: web.Request, made: Console) -> str:
    """Return why a request that changes something is not from a page of this console; empty if it is.

    A cookie is sent with requests from pages of other sites too, a bearer token never is.
    """
    if request.headers.get("Authorization", "").lower().startswith("bearer "):
        return ""
    origin = request.headers.get("Origin", "")
    expected = made.origin or f"{'https' if made.is_secure else 'http'}://{request.host}"
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin" or origin not in (expected, ""):
        return "This request comes from another site."
    if request.path.startswith("/api/"):
        return "" if request.headers.get(REQUEST_HEADER) else f"The header {REQUEST_HEADER} is missing."
    return "" if origin else "The header Origin is missing."
