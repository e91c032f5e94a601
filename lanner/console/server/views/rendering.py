"""Pages for a request: a template with what every page shows."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lanner.console.pages.render import Renderer
from lanner.console.server.context import IDENTITY, VERSION, console

RENDERER = web.AppKey("renderer", Renderer)


@dataclass(frozen=True, slots=True)
class View:
    """One entry of the navigation."""

    name: str
    path: str
    key: str
    """Opens the view after `g`."""


def page(request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
    """Render a template with values, the person who is signed in and the path."""
    made, who = console(request), request.get(IDENTITY)
    text = request.app[RENDERER].render(
        template,
        identity=who,
        path=request.path,
        source=made.source,
        lateness=made.pipeline.lateness if who is not None and made.pipeline is not None else "",
        now=made.clock() // 1000,
        version=request[VERSION],
        can_sign_out=bool(request.cookies) and who is not None and who.method in ("token", "oidc"),
        **values,
    )
    answer = web.Response(text=text, status=status, content_type="text/html")
    answer.enable_compression()
    return answer
