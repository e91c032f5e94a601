"""The pages about alerts: groups, one group, one alert."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from lanner.console.server.context import IDENTITY, console
from lanner.console.server.guard import NotFound
from lanner.console.server.rendering import histogram_chart, page
from lanner.console.store.filters import ALL_TIME, Filters
from lanner.console.store.reading import PAGE
from lanner.console.store.rows import AlertGroup, GroupDetail, Mark, time_text
from lanner.console.story.forms import siem_address
from lanner.errors import BadRequest
from lanner.tuning.rule_exceptions import choices
from notifier.formats.facts import facts, sentence
from schemas.alert import Alert
from schemas.catalog.priorities import Priority


def group_json(group: AlertGroup) -> dict[str, Any]:
    """Return a group as JSON."""
    return asdict(group) | {
        "headline": group.headline,
        "priority": str(Priority(group.priority)),
        "first": time_text(group.first),
        "last": time_text(group.last),
        "muted_until": time_text(group.muted_until // 1000) if group.muted_until else None,
    }


def mark_json(mark: Mark) -> dict[str, Any]:
    """Return a decision as JSON."""
    return {"field": mark.field, "value": mark.value, "author": mark.author, "at": time_text(mark.at // 1000)}


MAX_LIMIT = 500
MAX_OFFSET = 100_000


async def alert_of(request: web.Request) -> tuple[Alert, str]:
    """Return the alert that an address names, and the key of its group. Raises NotFound."""
    found = await asyncio.to_thread(console(request).reader.alert, request.match_info["id"])
    if found is None:
        raise NotFound("There is no such alert; it may be too old.")
    return found


async def _group(request: web.Request, filters: Filters, now: int) -> GroupDetail:
    found = await asyncio.to_thread(console(request).reader.group, request.match_info["key"], filters, now)
    if found is None:
        raise NotFound("There is no such group; its alerts may be too old.")
    return found


def number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Return a number of the query. Raises BadRequest."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)) or int(text) > most:
        raise BadRequest(f"{name} must be a number up to {most}.")
    return int(text)


async def groups_json(request: web.Request) -> web.StreamResponse:
    """Return a page of groups."""
    made = console(request)
    filters = Filters.read(request.query)
    offset, limit = number(request.query, "offset", 0, MAX_OFFSET), number(request.query, "limit", PAGE, MAX_LIMIT)
    found = await asyncio.to_thread(lambda: made.reader.groups(filters, made.clock(), offset=offset, limit=limit))
    return web.json_response(asdict(found) | {"groups": [group_json(group) for group in found.groups]})


async def one_group_json(request: web.Request) -> web.StreamResponse:
    """Return one group."""
    found = await _group(request, Filters.read(request.query), console(request).clock())
    more = {
        "description": found.description,
        "response": found.response,
        "host_names": list(found.hosts),
        "marks": [mark_json(mark) for mark in found.marks],
    }
    return web.json_response(group_json(found.group) | more)


async def alerts(request: web.Request) -> web.StreamResponse:
    """Return the alerts of a group, or all that match, newest first."""
    made = console(request)
    filters = Filters.read(request.query)
    before = number(request.query, "before", 0, 1 << 62)
    limit = number(request.query, "limit", PAGE, MAX_LIMIT)
    key = request.match_info.get("key", "")
    found = await asyncio.to_thread(
        lambda: made.reader.alerts(key, filters, made.clock(), before=before or None, limit=limit)
    )
    lines = [asdict(line) | {"time": time_text(line.time), "position": line.time} for line in found]
    return web.json_response({"alerts": lines})


async def alert_json(request: web.Request) -> web.StreamResponse:
    """Return one alert with its event."""
    found, key = await alert_of(request)
    return web.json_response(asdict(found) | {"group": key})


async def histogram(request: web.Request) -> web.StreamResponse:
    """Return counts by time and priority."""
    made = console(request)
    filters = Filters.read(request.query)
    found = await asyncio.to_thread(lambda: made.reader.histogram(filters, made.clock()))
    bars = [
        {"start": time_text(bar.start), "counts": {str(Priority(each)): n for each, n in bar.counts.items()}}
        for bar in found.bars
    ]
    return web.json_response({"since": time_text(found.since), "until": time_text(found.until), "bars": bars})


async def names(request: web.Request) -> web.StreamResponse:
    """Return rules, workloads, tags and hosts that filters may name."""
    return web.json_response(await asyncio.to_thread(console(request).reader.names))


async def me(request: web.Request) -> web.StreamResponse:
    """Return who is signed in."""
    return web.json_response(asdict(request[IDENTITY]))


def whole_event(found: Alert) -> Mapping[str, object]:
    """Return the fields of an alert's event, then those that only its output names."""
    return {**found.event, **{name: value for name, value in found.output_fields.items() if name not in found.event}}


_CHIPS = ("priority", "rule", "tag", "technique", "workload", "namespace", "image", "host", "user", "q")


async def groups(request: web.Request) -> web.StreamResponse:
    """Show the groups that match the filters in the address."""
    made = console(request)
    if made.is_recording and "since" not in request.query:
        # A recording may be of any time.
        raise web.HTTPSeeOther(str(request.rel_url.update_query(since=ALL_TIME)))
    filters = Filters.read(request.query)
    offset = number(request.query, "offset", 0, MAX_OFFSET)
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
        link=filters.address,
        **filters.neighbors(offset, PAGE, found.total),
        is_empty=is_empty,
    )


async def group(request: web.Request) -> web.StreamResponse:
    """Show one group: what it means, its alerts, what people decided."""
    made = console(request)
    key = request.match_info["key"]
    now = made.clock()
    filters = Filters.read({"since": ALL_TIME, **request.query})
    before = number(request.query, "before", 0, 1 << 62)
    found = await _group(request, filters, now)
    everything = Filters(state="all", since=ALL_TIME)
    lines = await asyncio.to_thread(lambda: made.reader.alerts(key, everything, now, before=before or None))
    older = f"/groups/{key}?{urlencode({'before': lines[-1].time})}" if len(lines) == PAGE else ""
    return page(request, "group.html", detail=found, group=found.group, lines=lines, older=older, is_first=not before)


async def alert(request: web.Request) -> web.StreamResponse:
    """Show one alert."""
    made = console(request)
    one, key = await alert_of(request)
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
        headline=sentence(one),
        facts=list(facts(one)),
        event=whole_event(one),
        marks=marks,
        siem=siem_address(template, one) if (template := made.story.siem_url) else "",
        can_except=bool(choices(one)),
    )


def chips(filters: Filters) -> list[tuple[str, str, str]]:
    """Return label, value and the address without it, for each filter that is set."""
    return [
        ("text" if name == "q" else name, value, filters.address(**{name: ""}))
        for name in _CHIPS
        if (value := getattr(filters, name))
    ]


ROUTES = (
    web.get("/", groups),
    web.get("/groups/{key}", group),
    web.get("/alerts/{id}", alert),
    web.get("/api/groups", groups_json),
    web.get("/api/groups/{key}", one_group_json),
    web.get("/api/groups/{key}/alerts", alerts),
    web.get("/api/alerts", alerts),
    web.get("/api/alerts/{id}", alert_json),
    web.get("/api/histogram", histogram),
    web.get("/api/names", names),
    web.get("/api/me", me),
)
