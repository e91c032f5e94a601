"""The aiohttp application of a console. A new view adds its routes to ROUTES, and its name to VIEWS if it has one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from lanner.console.pages.render import Renderer
from lanner.console.server.api import alerts as alerts_api
from lanner.console.server.api import live, marks, story
from lanner.console.server.context import CONSOLE, Console
from lanner.console.server.fleet import hosts, rules
from lanner.console.server.guard import middlewares
from lanner.console.server.pipeline import api as pipeline_api
from lanner.console.server.pipeline import view as pipeline
from lanner.console.server.search import api as search_api
from lanner.console.server.search import view as search
from lanner.console.server.views import alerts, assets, monitoring, sign_in
from lanner.console.server.views.rendering import RENDERER, View
from schemas.caching.rate_limit import RateLimit

VIEWS: tuple[View, ...] = (
    View("Alerts", "/", "a"),
    View("Hosts", "/hosts", "h"),
    View("Pipeline", "/pipeline", "p"),
    View("Rules", "/rules", "r"),
    View("Search", "/search", "s"),
)
"""The views of the navigation: name, path, and the key that opens it after `g`."""
ROUTES: tuple[web.RouteDef, ...] = (
    *alerts.ROUTES,
    *sign_in.ROUTES,
    *alerts_api.ROUTES,
    *story.ROUTES,
    *marks.ROUTES,
    *live.ROUTES,
    *hosts.ROUTES,
    *rules.ROUTES,
    *pipeline.ROUTES,
    *pipeline_api.ROUTES,
    *search.ROUTES,
    *search_api.ROUTES,
    *assets.ROUTES,
    *monitoring.ROUTES,
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
    app[RENDERER] = Renderer({"views": VIEWS})
    monitoring.prepare(app)
    app.router.add_routes(ROUTES)
    made.hub.open()
    app.on_shutdown.append(_closing(made))
    yield app


def _closing(made: Console) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_: web.Application) -> None:
        if made.search is not None:
            made.search.close()
        await made.hub.close()
        made.slow.close()

    return close
