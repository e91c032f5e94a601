"""JSON about groups and alerts, for programs and for the pages' own scripts."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus

from aiohttp import web

from lanner.console.server.api.forms import detail_json, histogram_json, line_json, page_json
from lanner.console.server.context import console, identity
from lanner.console.server.guard import failure
from lanner.console.store.filters import BadPageFilter, read_filters
from lanner.console.store.reading import PAGE
from schemas.alert import Alert

MAX_LIMIT = 500
MAX_OFFSET = 100_000
NO_GROUP = "There is no such group; its alerts may be too old."
NO_ALERT = "There is no such alert; it may be too old."


class BadQuery(BadPageFilter):
    """A value of the query is not valid."""


def number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Return a number of the query. Raises BadQuery."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)) or int(text) > most:
        raise BadQuery(f"{name} must be a number up to {most}.")
    return int(text)


async def groups(request: web.Request) -> web.StreamResponse:
    """Return a page of groups."""
    made = console(request)
    try:
        filters = read_filters(request.query)
        offset, limit = number(request.query, "offset", 0, MAX_OFFSET), number(request.query, "limit", PAGE, MAX_LIMIT)
    except BadPageFilter as error:
        return failure(request, HTTPStatus.BAD_REQUEST, str(error))
    found = await asyncio.to_thread(lambda: made.reader.groups(filters, made.clock(), offset=offset, limit=limit))
    return web.json_response(page_json(found))


async def group(request: web.Request) -> web.StreamResponse:
    """Return one group."""
    made = console(request)
    try:
        filters = read_filters(request.query)
    except BadPageFilter as error:
        return failure(request, HTTPStatus.BAD_REQUEST, str(error))
    found = await asyncio.to_thread(lambda: made.reader.group(request.match_info["key"], filters, made.clock()))
    if found is None:
        return failure(request, HTTPStatus.NOT_FOUND, NO_GROUP)
    return web.json_response(detail_json(found))


async def alerts(request: web.Request) -> web.StreamResponse:
    """Return the alerts of a group, or all that match, newest first."""
    made = console(request)
    try:
        filters = read_filters(request.query)
        before = number(request.query, "before", 0, 1 << 62)
        limit = number(request.query, "limit", PAGE, MAX_LIMIT)
    except BadPageFilter as error:
        return failure(request, HTTPStatus.BAD_REQUEST, str(error))
    key = request.match_info.get("key", "")
    found = await asyncio.to_thread(
        lambda: made.reader.alerts(key, filters, made.clock(), before=before or None, limit=limit)
    )
    return web.json_response({"alerts": [line_json(line) for line in found]})


async def alert(request: web.Request) -> web.StreamResponse:
    """Return one alert with its event."""
    made = console(request)
    found = await asyncio.to_thread(lambda: made.reader.alert(request.match_info["id"]))
    if found is None:
        return failure(request, HTTPStatus.NOT_FOUND, NO_ALERT)
    return web.json_response(asdict(found[0]) | {"group": found[1]})


async def histogram(request: web.Request) -> web.StreamResponse:
    """Return counts by time and priority."""
    made = console(request)
    try:
        filters = read_filters(request.query)
    except BadPageFilter as error:
        return failure(request, HTTPStatus.BAD_REQUEST, str(error))
    found = await asyncio.to_thread(lambda: made.reader.histogram(filters, made.clock()))
    return web.json_response(histogram_json(found))


async def names(request: web.Request) -> web.StreamResponse:
    """Return rules, workloads, tags and hosts that filters may name."""
    return web.json_response(await asyncio.to_thread(console(request).reader.names))


async def me(request: web.Request) -> web.StreamResponse:
    """Return who is signed in."""
    return web.json_response(asdict(identity(request)))


def whole_event(found: Alert) -> Mapping[str, object]:
    """Return the fields of an alert's event, then those that only its output names."""
    return {**found.event, **{name: value for name, value in found.output_fields.items() if name not in found.event}}


ROUTES = (
    web.get("/api/groups", groups),
    web.get("/api/groups/{key}", group),
    web.get("/api/groups/{key}/alerts", alerts),
    web.get("/api/alerts", alerts),
    web.get("/api/alerts/{id}", alert),
    web.get("/api/histogram", histogram),
    web.get("/api/names", names),
    web.get("/api/me", me),
)
