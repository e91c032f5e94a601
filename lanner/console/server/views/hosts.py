"""Hosts: which are silent, lose events, are outdated or have a wrong clock, and what each can't do."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

import lanner
from lanner.console.fleet.hosts import PROBLEMS, STATES, HostCriteria, HostFilter, HostRow, counts, host_rows, selected
from lanner.console.fleet.ports import HostsReading
from lanner.console.server.context import Console, console
from lanner.console.server.guard import NotFound
from lanner.console.server.rendering import page
from lanner.console.server.views.alerts import MAX_LIMIT, MAX_OFFSET, number
from lanner.console.store.rows import time_text
from processor.output.internal_alerts import EVENTS_LOST

PAGE = 100
_HOUR_NS = 3600 * 10**9
_DAY_NS = 24 * _HOUR_NS


async def hosts(request: web.Request) -> web.StreamResponse:
    """Show the hosts that match the filter in the address."""
    made = console(request)
    chosen, offset = HostFilter.read(request.query), number(request.query, "offset", 0, MAX_OFFSET)
    known, rows = await _rows(made)
    found = selected(rows, chosen)
    shown = found[offset : offset + PAGE]
    return page(
        request,
        "hosts.html",
        known=known,
        chosen=chosen,
        counts=counts(rows),
        total=len(found),
        rows=shown,
        alerts=await _alerts(made, shown),
        problems=PROBLEMS,
        states=STATES,
        link=chosen.address,
        **chosen.neighbors(offset, PAGE, len(found)),
    )


async def host(request: web.Request) -> web.StreamResponse:
    """Show one host."""
    made = console(request)
    known, rows = await _rows(made)
    row = _found(rows, request)
    alerts = await _alerts(made, [row])
    return page(request, "host.html", row=row, host=row.host, known=known, alerts=alerts, problems=PROBLEMS)


async def hosts_json(request: web.Request) -> web.StreamResponse:
    """Return the hosts that match."""
    made = console(request)
    chosen = HostFilter.read(request.query)
    offset = number(request.query, "offset", 0, MAX_OFFSET)
    limit = number(request.query, "limit", PAGE, MAX_LIMIT)
    known, rows = await _rows(made)
    found = selected(rows, chosen)
    return web.json_response(
        {
            "hosts": [host_json(row) for row in found[offset : offset + limit]],
            "total": len(found),
            "counts": counts(rows),
            "read_at": time_text(known.read_at * 1000) if known.read_at else None,
            "unknown": known.unknown or known.error,
        }
    )


async def host_of_id(request: web.Request) -> web.StreamResponse:
    """Return one host."""
    _, rows = await _rows(console(request))
    return web.json_response(host_json(_found(rows, request)))


def host_json(row: HostRow) -> dict[str, Any]:
    """Return a host as JSON."""
    found = row.host
    return {
        "id": found.id,
        "name": found.name,
        "states": list(row.states),
        "seen": time_text(found.seen * 1000),
        "started": time_text(found.started // 1000),
        "version": found.version,
        "kernel": found.kernel,
        "rules": found.rules,
        "lag_seconds": found.lag / 1000,
        "clock_behind_seconds": found.offset / 1e9,
        "memory_bytes": found.memory_bytes,
        "lost": found.lost,
        "losses": dict(found.losses),
        "watched": None if found.watched is None else list(found.watched),
        "narrowed": list(found.narrowed),
        "missing": list(row.missing),
    }


async def _rows(made: Console) -> tuple[HostsReading, list[HostRow]]:
    known = made.fleet.hosts()

    def make() -> list[HostRow]:
        needed = made.fleet.rules().event_types
        since = (made.clock() - _HOUR_NS) // 1000
        losing = made.reader.hosts_of_rules((EVENTS_LOST,), since)
        return host_rows(known, HostCriteria(known.read_at, made.silent_seconds, lanner.__version__, needed, losing))

    rows: list[HostRow] = await made.recent.get(("hosts", known.read_at), make)
    return known, rows


async def _alerts(made: Console, rows: list[HostRow]) -> Mapping[str, int]:
    """Return the number of alerts of hosts in the last day."""
    since = (made.clock() - _DAY_NS) // 1000
    return await asyncio.to_thread(lambda: made.reader.alerts_of_hosts({row.host.name for row in rows}, since))


def _found(rows: list[HostRow], request: web.Request) -> HostRow:
    chosen = request.query.get("id", "")
    row = next((row for row in rows if row.host.id == chosen), None)
    if row is None:
        raise NotFound("There is no such host; it may not have sent anything for longer than events are retained.")
    return row


ROUTES = (
    web.get("/hosts", hosts),
    web.get("/hosts/host", host),
    web.get("/api/hosts", hosts_json),
    web.get("/api/hosts/host", host_of_id),
)
