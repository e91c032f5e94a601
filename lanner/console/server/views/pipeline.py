"""Queues and dead letters: their page and JSON, and the replay of dead letters."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from aiohttp import web

from lanner.console.pipeline import SHOWN, PipelineDesk
from lanner.console.server.context import IDENTITY, console
from lanner.console.server.guard import NotFound, failure, json_body
from lanner.console.server.rendering import page
from lanner.console.store.rows import time_text
from lanner.console.workers import NotReadable, PatientReading
from lanner.dead_letters import StoredDeadLetter
from lanner.errors import BadRequest

MAX_REPLAYED = 200
_ID = re.compile(r"[\w.-]{1,100}:\d{1,18}", re.ASCII)


async def queues(request: web.Request) -> web.StreamResponse:
    """Return what waits for whom."""
    desk = _desk(request)
    found = [asdict(each) | {"oldest": _time(each.oldest)} for each in await desk.queues.get()]
    return web.json_response({"queues": found, "remarks": list(desk.remarks)})


async def dead_letters(request: web.Request) -> web.StreamResponse:
    """Return the oldest dead letters."""
    found = await _desk(request).letters.get()
    return web.json_response(
        {"dead_letters": [_letter_json(each) for each in found.letters], "has_more": found.has_more}
    )


async def replay(request: web.Request) -> web.StreamResponse:
    """Send dead letters again."""
    made, who, desk = console(request), request[IDENTITY], _desk(request)
    if not who.may_change:
        return failure(request, HTTPStatus.FORBIDDEN, "Only analysts may do this.")
    ids = chosen_ids(await json_body(request))
    # Otherwise, the audit log's wait for a broker would come first.
    await desk.check()
    await made.record(request, who, "replay", "dead-letters", " ".join(ids))
    done = await desk.replay(ids)
    return web.json_response({"replayed": list(done.ids), "problem": done.problem})


def chosen_ids(body: Any) -> Sequence[str]:
    """Return the ids of a request's JSON. Raises BadRequest."""
    ids = body.get("ids") if isinstance(body, dict) else None
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_REPLAYED:
        raise BadRequest(f"ids must be a list of 1 to {MAX_REPLAYED} ids.")
    if not all(isinstance(each, str) and _ID.fullmatch(each) for each in ids):
        raise BadRequest("each id must be such as notifier:12.")
    return list(dict.fromkeys(ids))


def _desk(request: web.Request) -> PipelineDesk:
    desk = console(request).pipeline
    if desk is None:
        raise NotFound("A recording has no pipeline.")
    return desk


def _letter_json(letter: StoredDeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "at": _time(letter.at),
        "sink": letter.sink,
        "rule": letter.rule,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "details": dict(letter.details),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(int(seconds * 1_000_000))


async def pipeline(request: web.Request) -> web.StreamResponse:
    """Show what waits for whom, and dead letters; each without the other if one can't be read."""
    desk = console(request).pipeline
    if desk is None:
        return page(request, "pipeline.html", has_pipeline=False)
    queues, letters = await asyncio.gather(_read(desk.queues), _read(desk.letters))
    return page(
        request, "pipeline.html", has_pipeline=True, queues=queues, letters=letters, remarks=desk.remarks, most=SHOWN
    )


async def _read(reading: PatientReading[Any]) -> Any:
    """Return what is read, or why it can't be."""
    try:
        return await reading.get()
    except NotReadable as error:
        return str(error)


ROUTES = (
    web.get("/pipeline", pipeline),
    web.get("/api/pipeline", queues),
    web.get("/api/dead-letters", dead_letters),
    web.post("/api/dead-letters/replay", replay),
)
