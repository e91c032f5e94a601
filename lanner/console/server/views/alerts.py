"""The pages about alerts: the overview, groups, one group, one alert."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from lanner.console.actions import shown
from lanner.console.server.context import IDENTITY, Console, console
from lanner.console.server.guard import NotFound
from lanner.console.server.rendering import csv_text, histogram_chart, page
from lanner.console.store.filters import ALL_TIME, COLUMNS, Filters, ListFilters, PageFilter, address
from lanner.console.store.listing import MAX_FACETED
from lanner.console.store.reading import PAGE
from lanner.console.store.rows import AlertGroup, GroupDetail, Mark, time_text
from lanner.console.story.forms import siem_address
from lanner.errors import BadRequest
from lanner.tuning.rule_exceptions import choices
from notifier.formats.facts import facts
from notifier.formats.phrases import sentence, text_of
from processor.language.printer import quote
from schemas.alert import Alert
from schemas.catalog.attack import techniques
from schemas.catalog.fields import FIELDS
from schemas.catalog.priorities import Priority

SEVERE = 3
"""Error, and what is more severe."""


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


MAX_LIMIT = 5_000
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


_GROUP_COLUMNS = (
    *("last", "first", "priority", "rule", "headline", "workload", "count", "hosts", "state", "assignee", "tags"),
    *("text", "key"),
)
_ALERT_COLUMNS = ("time", "priority", "rule", "headline", "host", "user", "namespace", "output", "id")


def _rows(
    request: web.Request,
    name: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    answer: Mapping[str, Any],
) -> web.Response:
    """Return rows as CSV if `format` requests that, else the whole answer as JSON. Raises BadRequest."""
    form = request.query.get("format", "json")
    if form == "json":
        return web.json_response(answer)
    if form != "csv":
        raise BadRequest("format must be json or csv.")
    headers = {"Content-Disposition": f'attachment; filename="lanner-{name}.csv"'}
    return web.Response(text=csv_text(columns, rows), content_type="text/csv", headers=headers)


async def facets_json(request: web.Request) -> web.StreamResponse:
    """Return the most frequent values of filters among the alerts that match."""
    made = console(request)
    filters = Filters.read(request.query)
    found = await asyncio.to_thread(lambda: made.reader.facets(filters, made.clock()))
    return web.json_response({each.name: dict(each.values) for each in found})


async def groups_json(request: web.Request) -> web.StreamResponse:
    """Return a page of groups."""
    made = console(request)
    filters = Filters.read(request.query)
    offset, limit = number(request.query, "offset", 0, MAX_OFFSET), number(request.query, "limit", PAGE, MAX_LIMIT)
    found = await asyncio.to_thread(lambda: made.reader.groups(filters, made.clock(), offset=offset, limit=limit))
    rows = [group_json(group) for group in found.groups]
    return _rows(request, "groups", _GROUP_COLUMNS, rows, asdict(found) | {"groups": rows})


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
    return _rows(request, "alerts", _ALERT_COLUMNS, lines, {"alerts": lines})


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


_SEARCHES = {
    "SHA-256": ("proc.exe.sha256", "="),
    "file's SHA-256": ("fd.file.sha256", "="),
    "script's SHA-256": ("proc.script.sha256", "="),
    "origin": ("proc.exe.package", "="),
    "script": ("proc.script.path", "="),
    # For other operators of equality, the name would be resolved.
    "connection": ("fd.rip.name", "endswith"),
    "looked up": ("dns.question.name", "="),
    "TLS server": ("tls.client.server_name", "="),
}
"""The field by which others with a fact are found, and the operator of a search for events, by the fact's label."""


def fact_links(found: Alert, *, events: bool) -> dict[str, list[tuple[str, str]]]:
    """Return links to other alerts with a fact by its label, and if there are any, to events with it."""
    links: dict[str, list[tuple[str, str]]] = {}
    for label, (field, operator) in _SEARCHES.items():
        value = text_of(found, "fd.sip.name" if label == "connection" else field)
        if not value or not value.isprintable():
            continue
        words = '"' + value.replace('"', " ") + '"'
        links[label] = [("alerts", address("/", {"q": words, "state": "all", "since": ALL_TIME}))]
        if events and field in FIELDS:
            condition = f"{field} {operator} {quote(value)}"
            links[label].append(("events", address("/search", {"q": condition, "since": "24h"})))
    return links


MAX_VIEW = 60
"""Characters of the name of a view."""


def _downloads(path: str, query: Mapping[str, str]) -> Mapping[str, str]:
    """Return addresses of what a page lists, at most as many rows as one answer has, by format."""
    more = {"limit": str(MAX_LIMIT)}
    return {form.upper(): address(path, {**query, **more, "format": form}) for form in ("csv", "json")}


_CHIPS = ("priority", "rule", "tag", "technique", "workload", "namespace", "image", "host", "user", "q")


async def groups(request: web.Request) -> web.StreamResponse:
    """Show the groups that match the filters in the address."""
    made = console(request)
    if made.is_recording and "since" not in request.query:
        # A recording may be of any time.
        raise web.HTTPSeeOther(str(request.rel_url.update_query(since=ALL_TIME)))
    filters = ListFilters.read(request.query)
    offset = number(request.query, "offset", 0, MAX_OFFSET)
    now = made.clock()
    found, counted, by_value = await made.recent.get(
        (filters, offset, made.hub.version), lambda: made.reader.listed(filters, now, offset=offset)
    )
    is_empty = not found.groups and await asyncio.to_thread(made.reader.is_empty)
    return page(
        request,
        "groups.html",
        filters=filters,
        found=found,
        chart=histogram_chart(counted),
        chips=chips(filters),
        facets=by_value,
        is_sampled=found.alerts > MAX_FACETED,
        most_faceted=MAX_FACETED,
        columns=COLUMNS,
        view=request.query.get("view", "").strip()[:MAX_VIEW],
        techniques=techniques,
        downloads=_downloads("/api/groups", filters.query()),
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
    return page(
        request,
        "group.html",
        detail=found,
        group=found.group,
        lines=lines,
        older=older,
        is_first=not before,
        downloads=_downloads(f"/api/groups/{key}/alerts", {"since": ALL_TIME}),
    )


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
        links=fact_links(one, events=made.search is not None),
        event=whole_event(one),
        marks=marks,
        siem=siem_address(template, one) if (template := made.story.siem_url) else "",
        can_except=bool(choices(one)),
        **await alert_actions(made, one.id),
    )


async def alert_actions(made: Console, alert_id: str) -> dict[str, Any]:
    """Return what the page of an alert shows of the actions that it requested, and of those by hand because of it."""
    if made.actions is None:
        return {"has_actions": False}
    known, now = await asyncio.to_thread(made.actions.known), made.clock()
    return {
        "has_actions": True,
        "actions_missing": made.actions.missing,
        "action_problem": known.problem,
        "intents": [shown(each, now) for each in known.actions if each.intent.alert == alert_id],
    }


def chips(filters: Filters) -> list[tuple[str, str, str]]:
    """Return label, value and the address without it, for each filter that is set."""
    return [
        ("text" if name == "q" else name, value, filters.address(**{name: ""}))
        for name in _CHIPS
        if (value := getattr(filters, name))
    ]


@dataclass(frozen=True, slots=True)
class OverviewFilter(PageFilter):
    """The time range of the overview."""

    PATH = "/overview"
    since: str = "7d"
    seen: str = ""
    """When somebody looked last, a duration before now or a time; empty for a day before now."""

    def seen_at(self, now: int) -> int:
        """Return when somebody looked last, µs since the epoch. now: ns. Raises BadRequest."""
        try:
            return OverviewFilter(since=self.seen or "24h").span(now).since
        except BadRequest as error:
            raise BadRequest(str(error).replace("since", "seen", 1)) from None


async def overview(request: web.Request) -> web.StreamResponse:
    """Show what is new since somebody looked last, and the open alerts by tactic, workload, rule and host."""
    made = console(request)
    # A recording may be of any time.
    default: Mapping[str, str] = {"since": ALL_TIME, "seen": ALL_TIME} if made.is_recording else {}
    chosen = OverviewFilter.read({**default, **request.query})
    now = made.clock()
    seen = chosen.seen_at(now)
    found = await made.recent.get(
        (chosen, made.hub.version), lambda: made.reader.overview(Filters(state="all", since=chosen.since), seen, now)
    )
    is_empty = not found.groups and await asyncio.to_thread(made.reader.is_empty)
    severe = [each for each in found.priorities if each.priority <= SEVERE]
    return page(
        request,
        "overview.html",
        chosen=chosen,
        found=found,
        seen=seen,
        is_empty=is_empty,
        is_recording=made.is_recording,
        severe=sum(each.groups for each in severe),
        open_groups=sum(each.groups for each in found.priorities),
        open_alerts=sum(each.alerts for each in found.priorities),
        listed=lambda **query: address("/", {"since": chosen.since, **query}),
    )


ROUTES = (
    web.get("/", groups),
    web.get("/groups/{key}", group),
    web.get("/alerts/{id}", alert),
    web.get("/overview", overview),
    web.get("/api/groups", groups_json),
    web.get("/api/groups/{key}", one_group_json),
    web.get("/api/groups/{key}/alerts", alerts),
    web.get("/api/alerts", alerts),
    web.get("/api/alerts/{id}", alert_json),
    web.get("/api/histogram", histogram),
    web.get("/api/facets", facets_json),
    web.get("/api/names", names),
    web.get("/api/me", me),
)
