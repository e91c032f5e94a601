"""The page on which people search events; its script shows what the stream finds."""

from aiohttp import web

from lanner.console.server.context import console
from lanner.console.server.search.query import read_form
from lanner.console.server.views.rendering import page


async def search(request: web.Request) -> web.StreamResponse:
    """Show the form, with the search that the address describes."""
    made = console(request)
    form = read_form(request.query, is_recording=made.is_recording)
    described = None if made.search is None else made.search.source.described
    return page(request, "search.html", form=form, described=described)


ROUTES = (web.get("/search", search),)
