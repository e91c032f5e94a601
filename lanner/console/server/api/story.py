"""One alert's story, on demand: each part is read within limits on time and bytes."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from lanner.console.server.api.alerts import NO_ALERT
from lanner.console.server.context import console
from lanner.console.server.guard import failure
from lanner.console.server.slow import TooManyReadings
from lanner.console.story.budget import ReadBudget
from lanner.console.story.forms import story_json
from lanner.console.story.reading import StoryReader
from schemas.alert import Alert
from schemas.errors import LannerError
from schemas.text.durations import UNITS, parse_duration
from schemas.text.printable import printable

DEFAULT_BEFORE, DEFAULT_AFTER = "2m", "1m"
_MAX_AROUND = UNITS["h"]
Read = Callable[[StoryReader, Alert, ReadBudget], Any]


async def story(request: web.Request) -> web.StreamResponse:
    """Return what happened around an alert."""
    around = []
    for name, default in (("before", DEFAULT_BEFORE), ("after", DEFAULT_AFTER)):
        length = parse_duration(request.query.get(name, "") or default, ("s", "m", "h"))
        if length is None or length > _MAX_AROUND:
            return failure(request, HTTPStatus.BAD_REQUEST, f"{name} must be a duration of at most 1h, such as 5m.")
        around.append(length)

    def read(reader: StoryReader, alert: Alert, budget: ReadBudget) -> Any:
        return story_json(reader.story(alert, around[0], around[1], budget), reader.archive.retention)

    return await _answer(request, read)


async def _answer(request: web.Request, read: Read) -> web.StreamResponse:
    """Read a part of an alert's story on a thread; answer with its JSON."""
    made = console(request)
    found = await asyncio.to_thread(lambda: made.reader.alert(request.match_info["id"]))
    if found is None:
        return failure(request, HTTPStatus.NOT_FOUND, NO_ALERT)
    try:
        body = await made.slow.run(request, lambda budget: read(made.story, found[0], budget))
    except TooManyReadings:
        answer = failure(request, HTTPStatus.SERVICE_UNAVAILABLE, "Many people read events now; try again soon.")
        answer.headers["Retry-After"] = "5"
        return answer
    except LannerError as error:
        return failure(request, HTTPStatus.SERVICE_UNAVAILABLE, printable(str(error)))
    return web.json_response(body)


ROUTES = (web.get("/api/alerts/{id}/story", story),)
