"""Server-sent events: browsers learn that alerts arrived or marks changed, and read the page again."""

from http import HTTPStatus

from aiohttp import web

from lanner.console.server.context import CLIENT, console, identity
from lanner.console.server.guard import cookie_name, failure, policy_headers
from lanner.console.server.live import TooManyListeners


async def live(request: web.Request) -> web.StreamResponse:
    """Stream until the client goes."""
    transport = request.transport
    stream = console(request).hub.stream(
        request[CLIENT], _session(request), lambda: transport is None or transport.is_closing()
    )
    try:
        first = await anext(stream)
    except TooManyListeners as error:
        return failure(request, HTTPStatus.TOO_MANY_REQUESTS, str(error))
    answer = web.StreamResponse(headers=policy_headers(request) | {"X-Accel-Buffering": "no"})
    answer.content_type = "text/event-stream"
    await answer.prepare(request)
    try:
        await answer.write(first)
        async for part in stream:
            await answer.write(part)
    except ConnectionResetError:
        pass
    finally:
        await stream.aclose()
    return answer


def _session(request: web.Request) -> str:
    """Return the session that a request is of; empty if it didn't need one, so that its cookie may be anything."""
    has_session = identity(request).method in ("token", "oidc") and "Authorization" not in request.headers
    return request.cookies.get(cookie_name(console(request)), "") if has_session else ""


ROUTES = (web.get("/api/live", live),)
