"""Rules: alerts a day, cost, last change, who published them, and their place in the ATT&CK matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from lanner.console.fleet.ports import KnownRules
from lanner.console.fleet.rules import (
    SORTS,
    STATES,
    PastChange,
    RuleFilter,
    RuleRow,
    Tactic,
    changes_of,
    matrix,
    rule_rows,
    selected,
)
from lanner.console.server.context import console
from lanner.console.server.guard import NotFound
from lanner.console.server.rendering import page
from lanner.console.server.views.alerts import MAX_LIMIT, MAX_OFFSET, number
from lanner.console.store.filters import ALL_TIME, address
from lanner.console.store.rows import AllRuleActivity, time_text
from processor.output.internal_alerts import RULES_CHANGED
from schemas.alert import Alert
from schemas.catalog.attack import techniques

PAGE = 100
_MAX_CHANGES = 200
"""Changes that alerts report are read up to this number."""


@dataclass(frozen=True, slots=True)
class RulesPage:
    """The data for the pages about rules."""

    known: KnownRules
    activity: AllRuleActivity
    rows: Sequence[RuleRow]


async def rules(request: web.Request) -> web.StreamResponse:
    """Show the rules that match the filter in the address."""
    offset = number(request.query, "offset", 0, MAX_OFFSET)
    chosen, found = await _read(request)
    rows = selected(found.rows, chosen)
    return page(
        request,
        "rules.html",
        found=found,
        known=found.known,
        chosen=chosen,
        states=STATES,
        sorts=SORTS,
        total=len(rows),
        on=sum(row.is_on for row in found.rows),
        rows=rows[offset : offset + PAGE],
        techniques=techniques,
        link=chosen.address,
        attack=address("/rules/attack", RuleFilter(since=chosen.since).query()),
        **chosen.neighbors(offset, PAGE, len(rows)),
    )


async def attack(request: web.Request) -> web.StreamResponse:
    """Show the ATT&CK matrix."""
    chosen, found = await _read(request)
    tactics = matrix(found.rows)
    most = max((cell.alerts for tactic in tactics for cell in tactic.techniques), default=0)
    return page(
        request,
        "attack.html",
        found=found,
        known=found.known,
        chosen=chosen,
        tactics=tactics,
        level=lambda count: _level(count, most),
        link=lambda technique: RuleFilter(technique=technique, since=chosen.since).address(),
    )


async def rule(request: web.Request) -> web.StreamResponse:
    """Show one rule."""
    chosen, found = await _read(request)
    row = _named(found, request)
    attack_names = techniques(row.facts.tags) if row.facts else []
    return page(
        request, "rule.html", row=row, facts=row.facts, known=found.known, chosen=chosen, techniques=attack_names
    )


async def rules_json(request: web.Request) -> web.StreamResponse:
    """Return the rules that match."""
    offset = number(request.query, "offset", 0, MAX_OFFSET)
    limit = number(request.query, "limit", PAGE, MAX_LIMIT)
    chosen, found = await _read(request)
    rows = selected(found.rows, chosen)
    version = found.known.version
    return web.json_response(
        {
            "rules": [rule_json(row) for row in rows[offset : offset + limit]],
            "total": len(rows),
            "origin": found.known.origin,
            "problem": found.known.problem,
            "costs": found.known.costs,
            "version": version and asdict(version) | {"published": time_text(version.published // 1000)},
        }
    )


async def rule_of_name(request: web.Request) -> web.StreamResponse:
    """Return one rule with its texts."""
    row = _named((await _read(request))[1], request)
    facts = row.facts
    texts = {
        "description": facts.description if facts else "",
        "response": facts.response if facts else "",
        "condition": facts.condition if facts else "",
        "event_types": sorted(facts.event_types) if facts else [],
    }
    return web.json_response(rule_json(row) | texts)


async def attack_json(request: web.Request) -> web.StreamResponse:
    """Return the ATT&CK matrix."""
    _, found = await _read(request)
    return web.json_response({"tactics": [_tactic_json(tactic) for tactic in matrix(found.rows)]})


def rule_json(row: RuleRow) -> dict[str, Any]:
    """Return a rule as JSON."""
    facts, change = row.facts, row.change
    return {
        "name": row.name,
        "priority": row.priority,
        "enabled": row.is_on,
        "is_known": facts is not None,
        "tags": list(facts.tags) if facts else [],
        "place": facts.place if facts else "",
        "alerts": row.activity.count,
        "alerts_a_day": round(row.per_day, 3),
        "last": time_text(row.activity.last) if row.activity.last else None,
        "never": row.never,
        "sparkline": list(row.activity.sparkline),
        "seconds": row.seconds,
        "share": round(row.share, 4),
        "change": change and asdict(change) | {"time": time_text(change.time)},
    }


def _tactic_json(tactic: Tactic) -> dict[str, Any]:
    return {
        "id": tactic.id,
        "name": tactic.name,
        "techniques": [
            asdict(cell) | {"id": cell.name.id, "name": cell.name.name, "link": cell.name.link}
            for cell in tactic.techniques
        ],
    }


async def _read(request: web.Request) -> tuple[RuleFilter, RulesPage]:
    """Return the filter of an address, and the data of its time."""
    made = console(request)
    # A recording may be of any time.
    chosen = RuleFilter.read({**({"since": ALL_TIME} if made.is_recording else {}), **request.query})

    def make() -> RulesPage:
        known = made.fleet.rules()
        activity = made.reader.rules(chosen.since, made.clock())
        changes = changes_of(known, [_past(each) for each in made.reader.newest_of_rule(RULES_CHANGED, _MAX_CHANGES)])
        return RulesPage(known, activity, rule_rows(known, activity, changes))

    return chosen, await made.recent.get(("rules", chosen.since), make)


def _past(alert: Alert) -> tuple[PastChange, Sequence[str]]:
    fields: Mapping[str, Any] = alert.output_fields
    by = str(fields.get("rules.publisher") or fields.get("rules.cause") or alert.hostname)
    changes = fields.get("rules.changes")
    lines = [str(line) for line in changes] if isinstance(changes, (tuple, list)) else []
    return PastChange(alert.time // 1000, by, str(fields.get("rules.version") or ""), ""), lines


def _named(found: RulesPage, request: web.Request) -> RuleRow:
    name = request.query.get("name", "")
    row = next((row for row in found.rows if row.name == name), None)
    if row is None:
        raise NotFound("There is no such rule, and no alert of it.")
    return row


def _level(count: int, most: int) -> int:
    """Return how strongly a cell is colored, from 0 for none to 3."""
    if not count:
        return 0
    return 1 + (count * 10 >= most) + (count * 2 >= most)


ROUTES = (
    web.get("/rules", rules),
    web.get("/rules/attack", attack),
    web.get("/rules/rule", rule),
    web.get("/api/rules", rules_json),
    web.get("/api/rules/attack", attack_json),
    web.get("/api/rules/rule", rule_of_name),
)
