"""The overview: what is new, and where the open alerts are."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from lanner.console.server.context import console
from lanner.console.server.rendering import page
from lanner.console.store.filters import ALL_TIME, Filters, PageFilter, address
from lanner.errors import BadRequest

SEVERE = 3
"""Error, and what is more severe."""


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


ROUTES = (web.get("/overview", overview),)
