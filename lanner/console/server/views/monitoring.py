"""Health and metrics of the console."""

import asyncio
import time
from collections import Counter
from http import HTTPStatus

from aiohttp import web

import lanner
from lanner.console.server.context import CONSOLE, Console, console
from lanner.operations.catalogue import CLOSED, Readings, closed_connections
from lanner.operations.exposition import Exposition
from lanner.operations.health import HealthCheck, report, turning
from notifier.intake.http_thread import CLOSED_CONNECTIONS

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


def prepare(app: web.Application) -> None:
    """Make the metrics of an application."""
    app[_EXPOSITION] = Exposition(lambda: readings(app[CONSOLE], app[CLOSED_CONNECTIONS]))


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
ROUTES = (web.get("/healthz", health), web.get("/metrics", metrics))
