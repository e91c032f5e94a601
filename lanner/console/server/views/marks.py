"""Decisions of people: acknowledge, reopen, assign, comment, mute; each is stored durably and audited."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from foundation.quantities import parse_duration
from lanner.console.server.context import IDENTITY, console
from lanner.console.server.guard import NotFound, failure, json_body
from lanner.console.server.views.alerts import mark_json
from lanner.console.store.record import OTHER_TEXTS
from lanner.console.store.rows import ACKNOWLEDGED, ASSIGNEE, COMMENT, MAX_VALUE, MUTED, Mark
from lanner.errors import BadRequest

_SHARED = "Alerts of many texts share this row, also those to come, so it can't be muted. Acknowledge it instead."
_MAX_MUTE = 366 * 86_400_000_000_000
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of a person."""

    subject: str
    field: str
    value: str


def decision(body: Any, now: int) -> Decision:
    """Return the decision that a request's JSON describes. now: ns since the epoch. Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object.")
    subject, action, value = (body.get(name, "") for name in ("subject", "action", "value"))
    if not all(isinstance(each, str) for each in (subject, action, value)):
        raise BadRequest("subject, action and value must be strings.")
    kind, _, name = subject.partition(":")
    if kind not in ("group", "alert") or not name or not name.isascii() or len(name) > 100 or "\x1f" in name:
        raise BadRequest("subject must be group:KEY or alert:ID.")
    make = _ACTIONS.get(action)
    if make is None:
        raise BadRequest(f"action must be one of {', '.join(_ACTIONS)}.")
    return Decision(subject, *make(value.strip(), now))


async def decide(request: web.Request) -> web.StreamResponse:
    """Store a decision; return the marks of its subject."""
    made, who = console(request), request[IDENTITY]
    if not who.may_change:
        return failure(request, HTTPStatus.FORBIDDEN, "Only analysts may do this.")
    now = made.clock()
    body = await json_body(request)
    wanted = decision(body, now)
    kind, _, name = wanted.subject.partition(":")
    found = await asyncio.to_thread(made.reader.group_text if kind == "group" else made.reader.alert, name)
    if found is None:
        raise NotFound("There is no such group or alert; it may be too old.")
    if found == OTHER_TEXTS and wanted.field == MUTED and wanted.value:
        return failure(request, HTTPStatus.CONFLICT, _SHARED)
    await made.record(request, who, str(body["action"]), wanted.subject, wanted.value)
    mark = Mark(wanted.subject, wanted.field, wanted.value, who.name, now)
    try:
        await asyncio.to_thread(lambda: made.feed.put(mark))
    except TimeoutError:
        return failure(request, HTTPStatus.SERVICE_UNAVAILABLE, "It was stored, but is not shown yet.")
    made.hub.notify()
    marks = await asyncio.to_thread(lambda: made.reader.marks(wanted.subject))
    return web.json_response({"marks": [mark_json(each) for each in marks]})


def _acknowledged(value: str, now: int) -> tuple[str, str]:
    if not value:
        return ACKNOWLEDGED, str(now)
    if not (value.isascii() and value.isdigit()) or len(value) > 19:
        raise BadRequest("value must be the time of the newest alert that you saw, microseconds since the epoch.")
    return ACKNOWLEDGED, str(min(int(value) * 1000 + 999, now + 3600 * _NANOSECONDS))


def _muted(value: str, now: int) -> tuple[str, str]:
    duration = parse_duration(value, ("m", "h", "d"))
    if duration is not None:
        until = now + duration
    else:
        try:
            parsed = datetime.fromisoformat(value)
            until = int(parsed.timestamp()) * _NANOSECONDS if parsed.tzinfo else 0
        except (ValueError, OverflowError):
            until = 0
    if not now < until <= now + _MAX_MUTE:
        raise BadRequest("value must be a duration such as 8h, or a time with a zone, within the next 366 days.")
    return MUTED, str(until)


def _text(field: str, value: str) -> tuple[str, str]:
    if not value or len(value) > MAX_VALUE:
        raise BadRequest(f"value must be a text of at most {MAX_VALUE} characters.")
    return field, value


_ACTIONS: Mapping[str, Callable[[str, int], tuple[str, str]]] = {
    "acknowledge": _acknowledged,
    "reopen": lambda _, __: (ACKNOWLEDGED, ""),
    "assign": lambda value, _: _text(ASSIGNEE, value),
    "unassign": lambda _, __: (ASSIGNEE, ""),
    "mute": _muted,
    "unmute": lambda _, __: (MUTED, ""),
    "comment": lambda value, now: _text(f"{COMMENT}/{now:x}-{secrets.token_hex(4)}", value),
}
ROUTES = (web.post("/api/marks", decide),)
