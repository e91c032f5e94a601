"""Actions: their page and JSON, what people decide about them, and actions by hand on what an alert is about."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, get_args

from aiohttp import web

from lanner.actions.book import ActionStatus, TrackedAction, action_json
from lanner.actions.deciding import DecisionRefused
from lanner.console.actions import ActionDesk, blast_radius, hand_actions, shown
from lanner.console.server.context import IDENTITY, console
from lanner.console.server.guard import NotFound, failure, json_body
from lanner.console.server.rendering import page
from lanner.console.server.views.alerts import MAX_OFFSET, alert_of, number
from lanner.console.store.filters import ALL_TIME, PageFilter
from lanner.console.store.reading import PAGE
from lanner.errors import BadRequest
from schemas.action import DecisionType

STATES: tuple[ActionStatus, ...] = get_args(ActionStatus)
_DECISIONS: Sequence[DecisionType] = ("approve", "reject", "undo", "extend")
_ABOUT_ALL: Sequence[DecisionType] = ("stop", "resume", "reset")


@dataclass(frozen=True, slots=True)
class ActionFilters(PageFilter):
    """The selection of actions; empty texts select everything."""

    PATH = "/actions"
    ALLOWED: ClassVar[Mapping[str, Sequence[str]]] = {"state": ("", *STATES)}
    state: str = ""
    policy: str = ""
    """A part of the policy's name."""
    host: str = ""
    """A part of the host's name."""
    since: str = ALL_TIME

    def choose(self, actions: Sequence[TrackedAction], now: int) -> list[TrackedAction]:
        """Return the actions that match."""
        return [
            each
            for each in actions
            if (not self.state or each.status(now) == self.state)
            and self.policy.casefold() in each.intent.policy.casefold()
            and self.host.casefold() in each.intent.hostname.casefold()
        ]


async def actions(request: web.Request) -> web.StreamResponse:
    """Show the actions that match the filters in the address."""
    made, desk = console(request), console(request).actions
    if desk is None:
        return page(request, "actions.html", has_actions=False)
    filters = ActionFilters.read(request.query)
    offset = number(request.query, "offset", 0, MAX_OFFSET)
    known, now = await asyncio.to_thread(desk.known), made.clock()
    found = filters.choose(known.actions, now)
    return page(
        request,
        "actions.html",
        has_actions=True,
        known=known,
        missing=desk.missing,
        filters=filters,
        states=STATES,
        rows=[shown(each, now) for each in found[offset : offset + PAGE]],
        total=len(found),
        **filters.neighbors(offset, PAGE, len(found)),
    )


async def actions_json(request: web.Request) -> web.StreamResponse:
    """Return the newest actions that match."""
    desk, filters, now = _desk(request), ActionFilters.read(request.query), console(request).clock()
    known = await asyncio.to_thread(desk.known)
    return web.json_response(
        {
            "actions": [action_json(each, now) for each in filters.choose(known.actions, now)[:PAGE]],
            "stopped_by": known.stop.by if known.stop is not None else None,
            "blown": list(known.blown),
            "problem": known.problem,
        }
    )


async def decide(request: web.Request) -> web.StreamResponse:
    """Store what a person decides about an action."""
    body = await _texts(request, "id", "type")
    type_ = next((each for each in _DECISIONS if each == body["type"]), None)
    if type_ is None:
        raise BadRequest(f"type must be one of {', '.join(_DECISIONS)}.")

    def work(desk: ActionDesk, by: str) -> dict[str, Any]:
        return {"action": action_json(desk.decide(body["id"], type_, by), console(request).clock())}

    return await _decided(request, f"{type_} action", body["id"], "", work)


async def decide_all(request: web.Request) -> web.StreamResponse:
    """Stop or resume all actions, or reset a policy's fuse."""
    body = await _texts(request, "type", "policy")
    type_ = next((each for each in _ABOUT_ALL if each == body["type"]), None)
    if type_ is None:
        raise BadRequest(f"type must be one of {', '.join(_ABOUT_ALL)}.")
    subject = body["policy"] if type_ == "reset" else ""

    def work(desk: ActionDesk, by: str) -> dict[str, Any]:
        desk.decide_all(type_, subject, by)
        return {}

    return await _decided(request, f"{type_} actions", subject, "", work)


async def by_hand(request: web.Request) -> web.StreamResponse:
    """Return what may be done by hand about what an alert is about, each with what it would hit."""
    made, desk = console(request), _desk(request)
    alert, _ = await alert_of(request)
    known, now = await asyncio.to_thread(desk.known), made.clock()
    found = hand_actions(alert, _by(request), now)
    radius = await asyncio.to_thread(
        lambda: [blast_radius(alert, each, made.reader, known, now) for each in found.values() if not each.refusal]
    )
    possible = [each for each in found.values() if not each.refusal]
    return web.json_response(
        {
            "missing": desk.missing or known.problem,
            "actions": [
                {"type": each.type, "target": each.target, "text": each.text, "radius": [list(row) for row in rows]}
                for each, rows in zip(possible, radius, strict=True)
            ],
            "refused": [
                {"type": each.type, "target": each.target, "why": each.refusal}
                for each in found.values()
                if each.refusal
            ],
        }
    )


async def act(request: web.Request) -> web.StreamResponse:
    """Request an action by hand on what an alert is about."""
    body = await _texts(request, "type", "target")
    alert, _ = await alert_of(request)
    found = hand_actions(alert, _by(request), console(request).clock())
    intent = next((each for (type_, target), each in found.items() if [type_, target] == [*body.values()]), None)
    if intent is None:
        raise BadRequest("there is no such type of action and target.")
    if intent.refusal:
        return failure(request, HTTPStatus.CONFLICT, f"{intent.refusal}.")
    chosen = intent

    def work(desk: ActionDesk, _: str) -> dict[str, Any]:
        return {"action": action_json(desk.request(chosen), console(request).clock())}

    return await _decided(
        request, f"{chosen.type} by hand", f"alert:{alert.id}", f"{chosen.target} {chosen.text}", work
    )


async def _decided(
    request: web.Request, what: str, subject: str, value: str, work: Callable[[ActionDesk, str], Mapping[str, Any]]
) -> web.StreamResponse:
    """Record what a person decides in the audit log, then do it."""
    made, who, desk = console(request), request[IDENTITY], _desk(request)
    if not who.may_change:
        return failure(request, HTTPStatus.FORBIDDEN, "Only analysts may do this.")
    if desk.missing:
        return failure(request, HTTPStatus.CONFLICT, desk.missing)
    await made.record(request, who, what, subject, value[:_MAX_VALUE])
    try:
        answer = await asyncio.to_thread(work, desk, _by(request))
    except DecisionRefused as error:
        return failure(request, HTTPStatus.CONFLICT, f"It isn't possible: {error}.")
    except TimeoutError:
        return failure(request, HTTPStatus.SERVICE_UNAVAILABLE, "It was stored, but is not shown yet.")
    made.hub.notify()
    return web.json_response(answer)


_MAX_VALUE = 300
_MAX_TEXT = 1_000


async def _texts(request: web.Request, *names: str) -> dict[str, str]:
    """Return the texts of a request's JSON; missing ones are empty. Raises BadRequest."""
    body = await json_body(request)
    found = {name: body.get(name, "") for name in names} if isinstance(body, dict) else {}
    if not found or not all(isinstance(each, str) and len(each) <= _MAX_TEXT for each in found.values()):
        raise BadRequest(f"the body must be an object with the texts {' and '.join(names)}.")
    return found


def _by(request: web.Request) -> str:
    """Return who decides, as hosts and other people see it."""
    return f"{request[IDENTITY].name}@console"[:200]


def _desk(request: web.Request) -> ActionDesk:
    desk = console(request).actions
    if desk is None:
        raise NotFound("A recording has no actions.")
    return desk


ROUTES = (
    web.get("/actions", actions),
    web.get("/api/actions", actions_json),
    web.post("/api/actions/decide", decide),
    web.post("/api/actions/all", decide_all),
    web.get("/api/alerts/{id}/actions", by_hand),
    web.post("/api/alerts/{id}/actions", act),
)
