"""One alert's story, on demand: each part is read within limits on time and bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import chain, islice
from typing import Any

from aiohttp import web

from foundation.errors import LannerError
from foundation.quantities import UNITS, parse_duration
from foundation.text import printable
from lanner.console.server.context import CLIENT, IDENTITY, StoryParts, console
from lanner.console.server.guard import failure
from lanner.console.server.views.alerts import alert_of, number
from lanner.console.store.reading import AlertReader
from lanner.console.store.rows import ACKNOWLEDGED, ASSIGNEE, COMMENT, Mark, time_text
from lanner.console.story.forms import story_json
from lanner.console.story.reading import NothingToExport
from lanner.console.story.rules import explanation_json
from lanner.errors import BadInput, BadRequest, TooManyAtOnce
from lanner.recorder.store import ReadBudget
from lanner.tuning.patch import Harm
from lanner.tuning.proposals import FieldCondition, Proposal, TunedAlert, proposal_for
from lanner.tuning.rule_exceptions import (
    MAX_ALERTS,
    MAX_DAYS,
    BadExceptionFields,
    Decisions,
    MarkedAlerts,
    Quieted,
    WrittenException,
    choices,
    quieted,
    written,
)
from schemas.alert import Alert

DEFAULT_BEFORE, DEFAULT_AFTER = "2m", "1m"
DEFAULT_DAYS = 7
_MAX_SUBJECT = 100
_MAX_MARKED = 50
_MAX_LEARNED = 2_000
"""The newest alerts of a rule, of which a proposal is made."""
_LONGEST = 500
"""Characters of an alert's output and of a comment that are shown."""
_MAX_AROUND = UNITS["h"]
Read = Callable[[StoryParts, Alert, ReadBudget], Any]


async def story(request: web.Request) -> web.StreamResponse:
    """Return what happened around an alert."""
    before, after = _around(request.query)

    def read(parts: StoryParts, alert: Alert, budget: ReadBudget) -> Any:
        return story_json(parts.reader.story(alert, before, after, budget), parts.reader.archive.retention)

    return await _answer(request, read)


async def incident(request: web.Request) -> web.StreamResponse:
    """Return the events around an alert as a file."""
    made, identifier = console(request), request.match_info["id"]
    before, after = _around(request.query)
    await made.record(request, request[IDENTITY], "export", f"alert:{identifier}"[:_MAX_SUBJECT])
    answer = await _answer(request, lambda parts, alert, budget: parts.reader.incident(alert, before, after, budget))
    if answer.status == HTTPStatus.OK:
        name = "".join(each for each in identifier if each.isascii() and (each.isalnum() or each == "-"))
        answer.headers["Content-Disposition"] = f'attachment; filename="incident-{name[:_MAX_SUBJECT]}.avro"'
    return answer


def _around(query: Mapping[str, str]) -> tuple[int, int]:
    """Return the requested time before and after an alert, ns. Raises BadRequest."""
    found = []
    for name, default in (("before", DEFAULT_BEFORE), ("after", DEFAULT_AFTER)):
        length = parse_duration(query.get(name, "") or default, ("s", "m", "h"))
        if length is None or length > _MAX_AROUND:
            raise BadRequest(f"{name} must be a duration of at most 1h, such as 5m.")
        found.append(length)
    return found[0], found[1]


async def explanation(request: web.Request) -> web.StreamResponse:
    """Return why the rule matches the event of an alert."""

    def read(parts: StoryParts, alert: Alert, budget: ReadBudget) -> Any:
        found = parts.rules.explain(alert, parts.reader.event(alert, budget))
        return explanation_json(found, alert.rule, parts.reader.redaction)

    return await _answer(request, read)


async def rule_test(request: web.Request) -> web.StreamResponse:
    """Return a test case of the rule that states the causes of an alert."""

    def write(parts: StoryParts, alert: Alert, _: ReadBudget) -> Any:
        try:
            return {"text": parts.write_test(alert, parts.rules.rules()), "problem": ""}
        except BadInput as error:
            return {"text": "", "problem": printable(str(error))}

    return await _answer(request, write)


async def exception(request: web.Request) -> web.StreamResponse:
    """Return an exception that excludes an alert, what it would have quieted, and which attacks it would hide."""
    days = number(request.query, "days", DEFAULT_DAYS, MAX_DAYS)
    fields = tuple(filter(None, request.query.get("fields", "").split(",")))
    made = console(request)
    now = made.clock()
    # A recording may be of any time.
    since = 0 if made.is_recording else now - days * UNITS["d"]

    def read(parts: StoryParts, alert: Alert, budget: ReadBudget) -> Any:
        rules = parts.rules.rules()
        declared = {rule.name: rule.exceptions for rule in rules.rules if rule.name == alert.rule}
        alerts = decided_alerts(made.reader, alert.rule, since)
        newest = list(islice(alerts, _MAX_LEARNED))
        proposed = proposal_for(TunedAlert.of(alert), [TunedAlert.of(each) for each, _ in newest], declared)
        text = written(alert, fields, proposed, now, rules.lists)
        found = quieted(chain(newest, alerts), text, alert, since, budget.is_spent)
        harm = Harm((), 0, 0)
        if text.conditions:
            chosen = Proposal(alert.rule, text.conditions, found.alerts, found.checked, 1, 0, alert.stated)
            harm = parts.rules.trial().of(chosen)
        return exception_json(choices(alert, proposed).values(), text, found, harm)

    return await _answer(request, read)


def decided_alerts(reader: AlertReader, rule: str, since: int) -> Iterator[tuple[Alert, Decisions]]:
    """Yield the alerts of a rule, newest first, each with the decisions that show that somebody looked at it."""
    marks = reader.marks_of_rule(rule)
    for alert, key in reader.alerts_of_rule(rule, since, MAX_ALERTS + 1):
        decisions = {
            subject: [_mark_text(mark) for mark in marks.get(subject, ()) if _concerns(mark, alert)]
            for subject in (f"group:{key}", f"alert:{alert.id}")
        }
        yield alert, {subject: texts for subject, texts in decisions.items() if texts}


def _concerns(mark: Mark, alert: Alert) -> bool:
    """Return whether a decision shows that somebody looked at an alert."""
    kind = mark.field.partition("/")[0]
    return kind in (ASSIGNEE, COMMENT) or (kind == ACKNOWLEDGED and int(mark.value) >= alert.time)


def _mark_text(mark: Mark) -> str:
    author, value = printable(mark.author), printable(mark.value[:_LONGEST])
    match mark.field.partition("/")[0]:
        case "acknowledged":
            return f"acknowledged by {author}"
        case "assignee":
            return f"assigned to {value}"
        case _:
            return f"{author}: {value}"


def exception_json(
    possible: Iterable[FieldCondition], proposed: WrittenException, found: Quieted, harm: Harm
) -> dict[str, Any]:
    """Return a proposal as JSON."""
    return {
        "choices": [
            {"field": each.field, "operator": each.operator, "value": printable(each.value)} for each in possible
        ],
        "chosen": [each.field for each in proposed.conditions],
        "proof": harm.sentence(),
        "is_harmful": bool(harm.tests or harm.actions),
        "text": proposed.text,
        "condition": printable(proposed.condition),
        "checked": found.checked,
        "quieted": found.alerts,
        "since": time_text(found.since // 1000),
        "is_partial": found.is_partial,
        "marked": [_marked(*each) for each in islice(found.marked.items(), _MAX_MARKED)],
        "more_marked": max(len(found.marked) - _MAX_MARKED, 0),
    }


def _marked(subject: str, found: MarkedAlerts) -> dict[str, Any]:
    return {
        "subject": subject,
        "count": found.count,
        "time": time_text(found.newest.time // 1000),
        "host": printable(found.newest.hostname or found.newest.host_id),
        "output": printable(found.newest.output[:_LONGEST]),
        "marks": list(found.decisions),
    }


async def _answer(request: web.Request, read: Read) -> web.StreamResponse:
    """Read a part of an alert's story on a thread; answer with its JSON."""
    made = console(request)
    found, _ = await alert_of(request)
    try:
        body = await made.slow.run(request, request[CLIENT], lambda budget: read(made.story, found, budget))
    except TooManyAtOnce as error:
        answer = failure(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        answer.headers["Retry-After"] = "5"
        return answer
    except BadExceptionFields as error:
        return failure(request, HTTPStatus.BAD_REQUEST, printable(str(error)))
    except NothingToExport as error:
        return failure(request, HTTPStatus.NOT_FOUND, printable(str(error)))
    except LannerError as error:
        return failure(request, HTTPStatus.SERVICE_UNAVAILABLE, printable(str(error)))
    if isinstance(body, bytes):
        return web.Response(body=body, content_type="application/octet-stream")
    return web.json_response(body)


ROUTES = (
    web.get("/api/alerts/{id}/story", story),
    web.get("/api/alerts/{id}/explanation", explanation),
    web.get("/api/alerts/{id}/incident", incident),
    web.get("/api/alerts/{id}/test", rule_test),
    web.get("/api/alerts/{id}/exception", exception),
)
