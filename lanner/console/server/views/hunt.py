"""The page of a hunt, and its server-sent events: `progress`, and at last `result` or `failed`.

Opening an address runs nothing: only a request that pages of other sites can't make does.
"""

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from aiohttp import web

from lanner.console.hunts import MAX_TEXT, HuntDesk, HuntMessage, HuntRequest
from lanner.console.server.context import CLIENT, IDENTITY, console
from lanner.console.server.guard import NotFound, event_stream, json_body
from lanner.console.server.live import event_bytes
from lanner.console.server.rendering import page
from lanner.console.store.filters import ALL_TIME, Filters
from lanner.errors import BadInput, BadRequest
from lanner.recorder.search import BadCondition, SearchProblem, split_fields
from lanner.recorder.store import EventRange
from lanner.tuning.patch import drafted_rule

DEFAULT_SINCE = "24h"
_MAX_FIELD, _MAX_FIELDS = 1_000, 40
_MAX_RARE = 100_000
LANGUAGES, ORDERS = ("condition", "sql"), ("most", "fewest")
_ENDS = {
    "complete": "all of it was read",
    "stopped": "it was stopped",
    "time": "its time was over",
    "disk": "its files took too much space",
}


@dataclass(frozen=True, slots=True)
class HuntForm:
    """The values of the form, which are those of the address."""

    q: str = ""
    """A condition, or a SQL text."""
    language: str = "condition"
    place: str = ""
    since: str = DEFAULT_SINCE
    until: str = ""
    host: str = ""
    fields: str = ""
    group_by: str = ""
    rare: str = ""
    """The most groups in which a value of the first field of `group_by` may occur."""
    order: str = "fewest"
    """The order of groups: those with the most or the fewest events first."""

    def request(self, now: int) -> HuntRequest:
        """Return what to run. now: ns since the epoch. Raises BadRequest."""
        found = Filters(since=self.since, until=self.until).span(now)
        until = now // 1_000_000 + 1 if found.until is None else found.until // 1000
        is_sql = self.language == "sql"
        group_by = () if is_sql else split_fields(self.group_by)
        shown = () if is_sql else split_fields(self.fields)
        if max(len(group_by), len(shown)) > _MAX_FIELDS:
            raise BadRequest(f"at most {_MAX_FIELDS} fields can be named.")
        rare = "" if is_sql else self.rare
        if rare and not (rare.isdecimal() and 0 < int(rare) <= _MAX_RARE):
            raise BadRequest(f"rare: write a number from 1 to {_MAX_RARE:,}.")
        if rare and not group_by:
            raise BadRequest("rare: choose fields to stack by.")
        if not self.q:
            raise BadRequest("write a condition, such as proc.name = curl, or a SELECT.")
        return HuntRequest(
            self.q,
            is_sql,
            self.place,
            EventRange(found.since // 1000, until, self.host or None),
            () if group_by else shown,
            group_by,
            int(rare or 0),
            rarest_first=self.order == "fewest",
        )

    @property
    def query(self) -> dict[str, str]:
        """The query of an address: what differs from the defaults."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}


def read_form(given: Mapping[str, Any], desk: HuntDesk, *, is_recording: bool) -> HuntForm:
    """Read the values of an address or of a request. is_recording: the events may be of any time. Raises BadRequest."""
    values: dict[str, str] = {}
    for each in fields(HuntForm):
        value = given.get(each.name, "")
        most = MAX_TEXT if each.name == "q" else _MAX_FIELD
        if not isinstance(value, str) or len(value) > most:
            raise BadRequest(f"{each.name}: must be a text of at most {most:,} characters.")
        values[each.name] = value.replace("\r\n", "\n").strip() or str(each.default)
    if not given.get("since") and is_recording:
        values["since"] = ALL_TIME
    places = desk.source.places
    values["place"] = values["place"] or next(iter(places))
    for name, allowed in (("language", LANGUAGES), ("order", ORDERS), ("place", places)):
        if values[name] not in allowed:
            raise BadRequest(f"{name}: must be {' or '.join(allowed)}.")
    return HuntForm(**values)


def _desk(request: web.Request) -> HuntDesk:
    desk = console(request).hunts
    if desk is None:
        raise NotFound("This console has no events: `lanner run` records none, and there is no archive.")
    if desk.source.missing:
        raise NotFound(desk.source.missing)
    return desk


async def show(request: web.Request) -> web.StreamResponse:
    """Show the form with the hunt that the address describes, which is not run."""
    made = console(request)
    desk = made.hunts
    form = HuntForm() if desk is None else read_form(request.query, desk, is_recording=made.is_recording)
    places, missing = ({}, "") if desk is None else (desk.source.places, desk.source.missing)
    return page(request, "hunt.html", form=form, places=places, missing=missing, max_text=MAX_TEXT)


async def run(request: web.Request) -> web.StreamResponse:
    """Run a hunt until its end, a limit, or until the client goes; record it before, and how it ended afterwards."""
    made, who, desk = console(request), request[IDENTITY], _desk(request)
    form = read_form(await _object(request), desk, is_recording=made.is_recording)
    wanted = form.request(made.clock())
    stream = desk.run(request[CLIENT], wanted)
    number = secrets.token_hex(4)
    ended = "the browser went away"
    try:
        # It waits for nothing of the hunt: only then is it known that it may run.
        await anext(stream)
        await made.record(request, who, "hunt", number, json.dumps(form.query, ensure_ascii=False))
        try:
            answer = await event_stream(request)
            async for message in stream:
                ended = _ended(message) or ended
                await answer.write(_bytes(message))
        except ConnectionResetError:
            # The browser was closed.
            pass
        except Exception:
            ended = "internal error"
            logging.getLogger("lanner.console").exception("internal error; this is a bug in Lanner")
            failed = {"error": "Internal error; this is a bug in Lanner.", "problems": []}
            await answer.write(event_bytes("failed", failed))
        finally:
            await _record_end(request, number, ended)
    finally:
        await stream.aclose()
    return answer


async def _record_end(request: web.Request, number: str, ended: str) -> None:
    try:
        await console(request).record(request, request[IDENTITY], "hunt_ended", number, ended)
    except OSError as error:
        logging.getLogger("lanner.console").warning("the end of hunt %s is not in the audit log: %s", number, error)


def _bytes(message: HuntMessage) -> bytes:
    return b": still here\n\n" if message.kind == "beat" else event_bytes(message.kind, message.value)


def _ended(message: HuntMessage) -> str:
    """Return how a hunt ended, for the audit log; empty if it didn't."""
    if message.kind == "failed":
        return f"failed: {message.value['error']}"[:_MAX_FIELD]
    if message.kind != "result":
        return ""
    value = message.value
    return f"{_ENDS[value['end']]}; {len(value['rows']):,} rows in {value['seconds']} s"


async def stop(request: web.Request) -> web.StreamResponse:
    """Ask this person's hunt to end with what it has found."""
    return web.json_response({"stopped": _desk(request).stop(request[CLIENT])})


async def draft(request: web.Request) -> web.StreamResponse:
    """Return a condition as a rule."""
    desk = _desk(request)
    given = await _object(request)
    form = read_form(given, desk, is_recording=False)
    name = given.get("name", "")
    if not isinstance(name, str) or form.language != "condition":
        raise BadRequest("only a condition becomes a rule, whose name is a text.")
    shown = split_fields(form.group_by, form.fields)
    try:
        files = desk.source.files()
    except BadInput as error:
        raise BadRequest(str(error)) from None
    try:
        made = drafted_rule(form.q, name.strip(), shown, files)
    except BadCondition as error:
        return web.json_response({"error": str(error), "problems": _problems(error.problems)}, status=400)
    return web.json_response({"text": made.text, "warnings": _problems(made.warnings)})


def _problems(problems: tuple[SearchProblem, ...]) -> list[dict[str, Any]]:
    return [asdict(each) for each in problems]


async def _object(request: web.Request) -> Mapping[str, Any]:
    given = await json_body(request)
    if not isinstance(given, dict):
        raise BadRequest("the body must be an object.")
    return given


ROUTES = (
    web.get("/hunt", show),
    web.post("/api/hunt", run),
    web.post("/api/hunt/stop", stop),
    web.post("/api/hunt/rule", draft),
)
