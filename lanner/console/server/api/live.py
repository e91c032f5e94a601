"""Server-sent events: browsers learn that alerts arrived or marks changed, and read the page again."""

from http import HTTPStatus

from aiohttp import web

from lanner.console.server.context import console
from lanner.console.server.guard import failure, policy_headers
from lanner.console.server.live import TooManyListeners


async def live(request: web.Request) -> web.StreamResponse:
    """Stream until the client goes."""
    stream = console(request).hub.stream()
    try:
        first = await anext(stream)
    except TooManyListeners:
        return failure(request, HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are open.")
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


ROUTES = (web.get("/api/live", live),)
