"""The page of a search, and its server-sent events: `found`, `progress`, and at last `end` or `failed`."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bus.connection import BusUnavailable
from lanner.console.searches import SearchState
from lanner.console.server.context import CLIENT, IDENTITY, console
from lanner.console.server.guard import NotFound, event_stream, failure
from lanner.console.server.live import event_bytes
from lanner.console.server.rendering import page
from lanner.console.store.filters import ALL_TIME, Filters
from lanner.console.store.rows import time_text
from lanner.errors import BadInput
from lanner.recorder.search import BadCondition, EventSearch
from lanner.recorder.store import EventRange

DEFAULT_SINCE = "1h"
_MAX_TIME = 40


@dataclass(frozen=True, slots=True)
class SearchForm:
    """The values of the form."""

    q: str = ""
    """The condition."""
    since: str = DEFAULT_SINCE
    """A duration before now, a time, or `all`."""
    until: str = ""

    def events(self, now: int) -> EventRange:
        """Return the time range, with an end. now: ns since the epoch. Raises BadRequest."""
        found = Filters(since=self.since, until=self.until).span(now)
        until = now // 1_000_000 + 1 if found.until is None else found.until // 1000
        return EventRange(found.since // 1000, until)

    @property
    def query(self) -> dict[str, str]:
        """The query of an address."""
        return {"q": self.q, "since": self.since} | ({"until": self.until} if self.until else {})

    def address(self, until: str) -> str:
        """Return the address of the same search with another end."""
        return f"/search?{urlencode(self.query | {'until': until})}"


def read_form(query: Mapping[str, str], *, is_recording: bool) -> SearchForm:
    """Read the query of an address. is_recording: the events may be of any time."""
    default = ALL_TIME if is_recording else DEFAULT_SINCE
    times = (query.get(name, "").strip()[:_MAX_TIME] for name in ("since", "until"))
    since, until = times
    return SearchForm(query.get("q", "").strip(), since or default, until)


async def search_events(request: web.Request) -> web.StreamResponse:
    """Search until the end, a limit, or until the client goes."""
    made, who = console(request), request[IDENTITY]
    if made.search is None:
        raise NotFound("This console has no events: `lanner run` records none.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        # It changes nothing, but a page of another site shouldn't cause the work.
        return failure(request, HTTPStatus.FORBIDDEN, "This request comes from another site.")
    form = read_form(request.query, is_recording=made.is_recording)
    stream = made.search.run(request[CLIENT], form.q, form.events(made.clock()))
    try:
        await anext(stream)
    except BadCondition as error:
        problems = [asdict(each) for each in error.problems]
        return web.json_response({"error": str(error), "problems": problems}, status=HTTPStatus.BAD_REQUEST)
    try:
        answer = await event_stream(request)
        shown = _Shown(form)
        try:
            async for state in stream:
                if state.search is not None and shown.is_new:
                    # Only now it is known that there is something to search: a broker that is away is reported at once.
                    await made.record(request, who, "search", "", f"{form.q} [{form.since}, {form.until or 'now'}]")
                await answer.write(shown.events(state))
            await answer.write(shown.end())
        except (BadInput, BusUnavailable) as error:
            await answer.write(event_bytes("failed", {"error": str(error)}))
        except ConnectionResetError:
            # The browser was closed, or its search was stopped.
            pass
        except OSError:
            await answer.write(
                event_bytes("failed", {"error": "The search can't be recorded in the audit log now; try again."})
            )
        except Exception:
            logging.getLogger("lanner.console").exception("internal error; this is a bug in Lanner")
            await answer.write(event_bytes("failed", {"error": "Internal error; this is a bug in Lanner."}))
    finally:
        await stream.aclose()
    return answer


class _Shown:
    """The rows that a stream has sent, for its last event."""

    def __init__(self, form: SearchForm) -> None:
        self._form = form
        self._search: EventSearch | None = None
        self._oldest = 0
        """Time of the oldest event that was found, ns."""

    @property
    def is_new(self) -> bool:
        """True if nothing of the search was sent."""
        return self._search is None

    def events(self, state: SearchState) -> bytes:
        """Return what was found, and the progress."""
        if state.search is None:
            return b": opening\n\n"
        self._search = state.search
        parts = b""
        if state.found:
            self._oldest = min(each.time for each in state.found)
            parts = event_bytes(
                "found", {"events": [asdict(each) | {"time": time_text(each.time // 1000)} for each in state.found]}
            )
        return parts + event_bytes("progress", _progress(state.search))

    def end(self) -> bytes:
        """Return why the search ended, and where another one would continue."""
        made = self._search
        if made is None:
            return b""
        reached = made.searched_to
        if made.end == "results":
            reached = self._oldest // 1_000_000
        # Filters have whole seconds.
        until = time_text(-(-reached // 1000) * 1_000_000) if reached and made.end != "complete" else ""
        remarks = [*made.events.remarks]
        if made.faults:
            remarks.append(f"{made.faults:,} events could not be evaluated.")
        return event_bytes(
            "end",
            _progress(made)
            | {
                "reason": made.end,
                "remarks": remarks,
                "warnings": [asdict(each) for each in made.condition.warnings],
                "older": self._form.address(until) if until else None,
            },
        )


def _progress(made: EventSearch) -> dict[str, Any]:
    return {
        "share": round(made.events.share, 4),
        "looked_at": made.count,
        "found": made.found,
        "bytes": made.events.bytes,
        "searched_to": time_text(made.searched_to * 1000) if made.searched_to else None,
    }


async def search(request: web.Request) -> web.StreamResponse:
    """Show the form, with the search that the address describes."""
    made = console(request)
    form = read_form(request.query, is_recording=made.is_recording)
    described = None if made.search is None else made.search.source.described
    return page(request, "search.html", form=form, described=described)


ROUTES = (web.get("/search", search), web.get("/api/search", search_events))
