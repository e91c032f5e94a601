"""The aiohttp application of a console. A new view adds its routes to ROUTES, and its name to VIEWS if it has one."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files

import yaml
from aiohttp import web

import lanner
from foundation.http_server import CLOSED_CONNECTIONS
from foundation.throttling import RateLimit
from lanner.console.server.context import CLIENT, CONSOLE, IDENTITY, Console, console
from lanner.console.server.guard import cookie_name, event_stream, failure, middlewares
from lanner.console.server.live import HEARTBEAT, event_bytes
from lanner.console.server.rendering import TEMPLATES, View, templates
from lanner.console.server.views import actions, alerts, hosts, hunt, marks, pipeline, rules, search, sign_in, story
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.exposition import Exposition
from lanner.operations.health import HealthCheck, report, turning


async def live(request: web.Request) -> web.StreamResponse:
    """Stream until the client goes."""
    transport = request.transport
    stream = console(request).hub.stream(
        request[CLIENT], _session(request), lambda: transport is None or transport.is_closing()
    )
    first = await anext(stream)
    answer = await event_stream(request)
    desk, had_problems = console(request).pipeline, False
    try:
        await answer.write(first)
        async for part in stream:
            current = None if desk is None else desk.freshness
            has_problems = current is not None and bool(current.problems)
            # While detection is late, no alert may come for which the page would be read again.
            is_due = part == HEARTBEAT and (has_problems or had_problems)
            await answer.write(event_bytes("change", {"added": 0}) if is_due else part)
            had_problems = has_problems
    except ConnectionResetError:
        pass
    finally:
        await stream.aclose()
    return answer


def _session(request: web.Request) -> str:
    """Return the session that a request is of; empty if it didn't need one, so that its cookie may be anything."""
    has_session = request[IDENTITY].method in ("token", "oidc") and "Authorization" not in request.headers
    return request.cookies.get(cookie_name(console(request)), "") if has_session else ""


LIVE_ROUTES = (web.get("/api/live", live),)


_KINDS = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FILES = {
    item.name: item.read_bytes()
    for item in files("lanner.console.pages").joinpath("static").iterdir()
    if item.name.rpartition(".")[2] in _KINDS
}
_TAGS = {name: f'"{sha256(data).hexdigest()[:16]}"' for name, data in _FILES.items()}


async def static(request: web.Request) -> web.StreamResponse:
    """Return a file, unless the browser has it."""
    name = request.match_info["name"]
    if name not in _FILES:
        return failure(request, HTTPStatus.NOT_FOUND, "There is no such file.")
    headers = {"ETag": _TAGS[name]}
    if request.headers.get("If-None-Match") == _TAGS[name]:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(
        body=_FILES[name], content_type=_KINDS[name.rpartition(".")[2]], charset="utf-8", headers=headers
    )


async def icon(_: web.Request) -> web.StreamResponse:
    """Return the icon to browsers that ask at the usual path."""
    return web.Response(body=_FILES["icon.svg"], content_type=_KINDS["svg"])


async def description(_: web.Request) -> web.StreamResponse:
    """Return the description of the API as OpenAPI."""
    return web.Response(text=_description(), content_type="application/json")


@cache
def _description() -> str:
    text = files("lanner.console.pages").joinpath("openapi.yaml").read_text(encoding="utf-8")
    return json.dumps(yaml.safe_load(text))


ASSET_ROUTES = (
    web.get("/static/{name}", static),
    web.get("/favicon.ico", icon),
    web.get("/api/openapi.json", description),
)


MAX_FAILING_SECONDS = 60.0
"""How long reading or storing alerts may fail."""
_KIND = "text/plain; version=0.0.4; charset=utf-8"


async def health(request: web.Request) -> web.StreamResponse:
    """Answer whether alerts are taken."""
    is_good, text = report(checks(console(request), time.monotonic()))
    return web.Response(status=HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE, text=text)


def checks(made: Console, now: float) -> list[HealthCheck]:
    """Return the checks. now: monotonic seconds."""
    feed = made.feed
    failing = 0 if feed.failing_since is None else now - feed.failing_since
    works = failing < MAX_FAILING_SECONDS
    loop = turning("feed", feed.turned_at, now, made.stuck_seconds)
    return [
        loop if feed.is_alive else HealthCheck("feed", is_good=False, detail="it has stopped"),
        HealthCheck("alerts", works, "are taken" if works else f"can't be read or stored for {failing:.0f} s; see log"),
    ]


async def metrics(request: web.Request) -> web.StreamResponse:
    """Return the metrics in Prometheus's format."""
    exposition = request.app[_EXPOSITION]
    return web.Response(body=await asyncio.to_thread(exposition.text), headers={"Content-Type": _KIND})


def readings(made: Console, closed: Counter[str]) -> Readings:
    """Return the metrics. closed: connections that the server closed, by reason."""
    return {
        "lanner_build_info": {("console", lanner.__version__): 1.0},
        "lanner_console_alerts": {(): made.reader.stored()},
        "lanner_console_alerts_taken_total": {(): made.feed.taken},
        "lanner_consumer_lag": dict(made.feed.lag()),
        "lanner_console_requests_total": {(str(status),): number for status, number in list(made.answered.items())},
        "lanner_console_sessions": {(): made.sign_in.accounts.sessions(made.clock() // 1_000_000_000)},
        "lanner_console_live_pages": {(): made.hub.listeners},
        "lanner_console_live_refused_total": {(reason,): number for reason, number in made.hub.refused.items()},
        CLOSED: closed_connections("console", closed),
    }


_EXPOSITION = web.AppKey("exposition", Exposition)
MONITORING_ROUTES = (web.get("/healthz", health), web.get("/metrics", metrics))


VIEWS: tuple[View, ...] = (
    View("Overview", "/overview", "o"),
    View("Alerts", "/", "a"),
    View("Hosts", "/hosts", "h"),
    View("Actions", "/actions", "c"),
    View("Pipeline", "/pipeline", "p"),
    View("Rules", "/rules", "r"),
    View("Search", "/search", "s"),
    View("Hunt", "/hunt", "u"),
)
"""The views of the navigation: name, path, and the key that opens it after `g`."""
ROUTES: tuple[web.RouteDef, ...] = (
    *alerts.ROUTES,
    *sign_in.ROUTES,
    *story.ROUTES,
    *marks.ROUTES,
    *LIVE_ROUTES,
    *hosts.ROUTES,
    *actions.ROUTES,
    *rules.ROUTES,
    *pipeline.ROUTES,
    *search.ROUTES,
    *hunt.ROUTES,
    *ASSET_ROUTES,
    *MONITORING_ROUTES,
)
MAX_BODY = 64 << 10
REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 20.0, 200
ATTEMPTS_A_SECOND, ATTEMPTS_AT_ONCE = 0.2, 10
CALLBACKS_A_SECOND, CALLBACKS_AT_ONCE = 1.0, 60
"""People of one office come back from the provider to one address."""


@asynccontextmanager
async def application(made: Console) -> AsyncIterator[web.Application]:
    """Make the application on the running loop."""
    limits = (
        RateLimit[str](REQUESTS_A_SECOND, REQUESTS_AT_ONCE),
        RateLimit[str](ATTEMPTS_A_SECOND, ATTEMPTS_AT_ONCE),
        RateLimit[str](CALLBACKS_A_SECOND, CALLBACKS_AT_ONCE),
    )
    app = web.Application(client_max_size=MAX_BODY, middlewares=middlewares(*limits))
    app[CONSOLE] = made
    app[TEMPLATES] = templates({"views": VIEWS})
    app[_EXPOSITION] = Exposition(lambda: readings(made, app[CLOSED_CONNECTIONS]))
    app.router.add_routes(ROUTES)
    made.hub.open()

    async def close(_: web.Application) -> None:
        if made.search is not None:
            made.search.close()
        if made.hunts is not None:
            made.hunts.close()
        if made.actions is not None:
            await asyncio.to_thread(made.actions.stop)
        await made.hub.close()
        made.slow.close()

    app.on_shutdown.append(close)
    yield app
