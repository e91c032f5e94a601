"""The pages about alerts: groups, one group, one alert."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from aiohttp import web

from lanner.console.pages.charts import histogram_chart
from lanner.console.server.api.alerts import MAX_OFFSET, NO_ALERT, NO_GROUP, number, whole_event
from lanner.console.server.context import console
from lanner.console.server.views.rendering import page
from lanner.console.store.filters import ALL_TIME, BadPageFilter, Filters, read_filters
from lanner.console.store.reading import PAGE
from lanner.console.story.exceptions import choices
from lanner.console.story.links import siem_address
from notifier.formats.facts import facts

LABELS: Mapping[str, str] = {
    "priority": "priority",
    "rule": "rule",
    "tag": "tag",
    "technique": "technique",
    "workload": "workload",
    "namespace": "namespace",
    "image": "image",
    "host": "host",
    "user": "user",
    "q": "text",
}


async def groups(request: web.Request) -> web.StreamResponse:
    """Show the groups that match the filters in the address."""
    made = console(request)
    if made.is_recording and "since" not in request.query:
        # A recording may be of any time.
        raise web.HTTPSeeOther(str(request.rel_url.update_query(since=ALL_TIME)))
    try:
        filters = read_filters(request.query)
        offset = number(request.query, "offset", 0, MAX_OFFSET)
    except BadPageFilter as error:
        return page(request, "message.html", HTTPStatus.BAD_REQUEST, title="Not a valid filter", message=str(error))
    now = made.clock()
    found, counted = await made.recent.get(
        (filters, offset, made.hub.version), lambda: made.reader.overview(filters, now, offset=offset)
    )
    is_empty = not found.groups and await asyncio.to_thread(made.reader.is_empty)
    return page(
        request,
        "groups.html",
        filters=filters,
        found=found,
        chart=histogram_chart(counted),
        chips=chips(filters),
        link=lambda **changes: address(filters, **changes),
        older=address(filters, offset=str(offset + PAGE)) if offset + PAGE < found.total else "",
        newer=address(filters, offset=str(max(offset - PAGE, 0))) if offset else "",
        offset=offset,
        is_empty=is_empty,
    )


async def group(request: web.Request) -> web.StreamResponse:
    """Show one group: what it means, its alerts, what people decided."""
    made = console(request)
    key = request.match_info["key"]
    now = made.clock()
    try:
        filters = read_filters({"since": ALL_TIME, **request.query})
        before = number(request.query, "before", 0, 1 << 62)
    except BadPageFilter as error:
        return page(request, "message.html", HTTPStatus.BAD_REQUEST, title="Not a valid filter", message=str(error))
    found = await asyncio.to_thread(lambda: made.reader.group(key, filters, now))
    if found is None:
        return page(request, "message.html", HTTPStatus.NOT_FOUND, title="Not found", message=NO_GROUP)
    everything = Filters(state="all", since=ALL_TIME)
    lines = await asyncio.to_thread(lambda: made.reader.alerts(key, everything, now, before=before or None))
    older = f"/groups/{key}?{urlencode({'before': lines[-1].time})}" if len(lines) == PAGE else ""
    return page(request, "group.html", detail=found, group=found.group, lines=lines, older=older, is_first=not before)


async def alert(request: web.Request) -> web.StreamResponse:
    """Show one alert."""
    made = console(request)
    found = await asyncio.to_thread(lambda: made.reader.alert(request.match_info["id"]))
    if found is None:
        return page(request, "message.html", HTTPStatus.NOT_FOUND, title="Not found", message=NO_ALERT)
    one, key = found
    marks = await asyncio.to_thread(lambda: made.reader.marks(f"alert:{one.id}"))
    of_group = await asyncio.to_thread(
        lambda: made.reader.group(key, Filters(state="all", since=ALL_TIME), made.clock())
    )
    return page(
        request,
        "alert.html",
        alert=one,
        key=key,
        group=of_group and of_group.group,
        facts=list(facts(one)),
        event=whole_event(one),
        marks=marks,
        siem=siem_address(template, one) if (template := made.story.siem_url) else "",
        can_except=bool(choices(one)),
    )


def address(filters: Filters, offset: str = "", **changes: str) -> str:
    """Return the address of the groups with changed filters."""
    query = filters.query(**changes) | ({"offset": offset} if offset not in ("", "0") else {})
    return f"/?{urlencode(query)}" if query else "/"


def chips(filters: Filters) -> list[tuple[str, str, str]]:
    """Return label, value and the address without it, for each filter that is set."""
    return [
        (label, value, address(filters, **{name: ""}))
        for name, label in LABELS.items()
        if (value := getattr(filters, name))
    ]


ROUTES = (web.get("/", groups), web.get("/groups/{key}", group), web.get("/alerts/{id}", alert))
