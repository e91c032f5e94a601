"""An alert as a Slack message. Pure; within every limit of Slack whatever the alert contains.

Source of limits: docs.slack.dev, Block Kit reference. The limit on all blocks of a message is undocumented, and was
observed (msg_blocks_too_long at about 13,200 characters).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from foundation.quantities import date_and_time_seconds
from foundation.text import count_of, printable
from notifier.formats.facts import facts
from notifier.formats.phrases import action, is_in_container, sentence, text_of
from notifier.sink import RoutedAlert
from schemas.alert import Alert, Repeats
from schemas.catalog.attack import link
from schemas.catalog.priorities import SEVERITY, by_priority
from schemas.distinct_values import listed, merged, note, values_in

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JOINER = "\u2060"
_CODE = {**_ENTITIES, "`": "\u02cb"}
"""A backtick would end the code; its replacement looks like one."""
_PROSE = {
    **_CODE,
    "@": f"@{_JOINER}",
    "#": f"#{_JOINER}",
    "/": f"/{_JOINER}",
    "*": f"*{_JOINER}",
    "_": f"_{_JOINER}",
    "~": f"~{_JOINER}",
    ":": f":{_JOINER}",
    ".": f".{_JOINER}",
}
"""An invisible joiner prevents mentions, links, emoji and formatting."""
ELLIPSIS = "\u2026"


def length(text: str) -> int:
    """Return the length of escaped text by the strictest measure: UTF-16 units, entities written out."""
    return len(text) + sum(character > "\uffff" for character in text)


def in_code(text: str, limit: int) -> str:
    """Return text for use inside backticks, at most limit long."""
    return _fit(text, limit, _CODE)


def in_prose(text: str, limit: int) -> str:
    """Return text for use outside code, at most limit long."""
    return _fit(text, limit, _PROSE)


def _fit(text: str, limit: int, replaced: dict[str, str]) -> str:
    # Cut first: hostile text may be megabytes long.
    shown = printable(text[: limit + 1])
    pieces: list[str] = []
    left = limit
    for index, character in enumerate(shown):
        piece = replaced.get(character, character)
        size = length(piece)
        is_last = index == len(shown) - 1
        if size > left or (not is_last and size > left - 1):
            return "".join(pieces) + ELLIPSIS
        pieces.append(piece)
        left -= size
    return "".join(pieces)


Message = dict[str, Any]

MAX_FIELDS = 10
OUTPUT_LENGTH = 2500
ACTION_LENGTH = 700
FIELD_LENGTH = 300
NAME_LENGTH = 80
TAGS_LENGTH = 1800
DESCRIPTION_LENGTH = 1000
RESPONSE_LENGTH = 600
DIGEST_LINES = 20
DIGEST_ACTIONS_LENGTH = 400

LOOKS = by_priority(
    ("#b00020", ":rotating_light:"),
    ("#b00020", ":rotating_light:"),
    ("#d7263d", ":red_circle:"),
    ("#f46036", ":large_orange_circle:"),
    ("#f5b700", ":warning:"),
    ("#2e86ab", ":large_blue_circle:"),
    ("#8ab6d6", ":information_source:"),
    ("#b0b0b0", ":white_circle:"),
)
"""Color and emoji by priority."""


def message(routed: RoutedAlert, repeats: Repeats | None = None) -> Message:
    """Return the message for one alert, with its route's text if there is one, and how often it repeated, if known."""
    alert = routed.alert
    known = repeats or alert.repeats
    return _message(headline(alert, known), alert.priority, list(_blocks(routed, known)))


def represented(alert: Alert) -> int:
    """Return how many alerts one represents: a summary represents those that were not sent."""
    return alert.repeats.count if alert.repeats else 1


def headline(alert: Alert, repeats: Repeats | None = None) -> str:
    """Return the line that a phone shows: priority, rule, host and container."""
    where = in_prose(alert.hostname or "?", NAME_LENGTH)
    within = text_of(alert, "k8s.pod.name") or _container(alert)
    if within:
        where += f" / {in_prose(within, NAME_LENGTH)}"
    more = f" | {repeats.count} more" if repeats else ""
    return f"{LOOKS[alert.priority][1]} {alert.priority} | {in_prose(alert.rule, 200)} | {where}{more}"


def digest(alerts: Sequence[Alert]) -> Message:
    """Return one message for many alerts: how many of each rule, and what happened, the rarest first."""
    counts = Counter[tuple[str, str]]()
    actions: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
    for alert in alerts:
        counts[alert.priority, alert.rule] += represented(alert)
        known = actions.setdefault((alert.priority, alert.rule), {})
        note(known, values_in({"": action(alert)}, represented(alert)))
    ranked = sorted(counts.items(), key=lambda item: (SEVERITY[item[0][0]], -item[1], item[0][1]))
    highest = ranked[0][0][0]
    lines = [
        f"{LOOKS[priority][1]} *{count}* {priority} | {in_prose(rule, NAME_LENGTH)} | {_hosts(alerts, priority, rule)}"
        f"\n{in_prose(listed(merged({}, actions[priority, rule])['']), DIGEST_ACTIONS_LENGTH)}"
        for (priority, rule), count in ranked[:DIGEST_LINES]
    ]
    rest = ranked[DIGEST_LINES:]
    if rest:
        lines.append(f"and *{sum(count for _, count in rest)}* of {count_of(len(rest), 'other rule')}")
    first, last = alerts[0], alerts[-1]
    span = f"{_time(min(each.time for each in alerts))} to {_time(max(each.time for each in alerts))} UTC"
    # Four lines per section stay below its limit.
    sections = [_section("\n".join(lines[start : start + 4])) for start in range(0, len(lines), 4)]
    footer = _context(f"{span} | from `lanner context {first.id}` to `{last.id}`")
    total = f"{count_of(counts.total(), 'alert')} of {count_of(len(counts), 'rule')}"
    text = f"{LOOKS[highest][1]} {total}, too many for a message each"
    return _message(text, highest, [*sections, footer])


def _message(text: str, priority: str, blocks: list[dict[str, Any]]) -> Message:
    return {
        "text": text,
        "attachments": [{"color": LOOKS[priority][0], "fallback": text, "blocks": blocks}],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _blocks(routed: RoutedAlert, repeats: Repeats | None) -> Iterator[dict[str, Any]]:
    alert = routed.alert
    what = in_prose(sentence(alert), ACTION_LENGTH)
    yield _section(f"*{in_prose(alert.rule, 200)}*" + ("" if routed.text or alert.repeats else f"\n{what}"))
    if routed.text:
        yield _code(routed.text)
    fields = list(_fields(alert))
    if fields:
        yield {"type": "section", "fields": [_mrkdwn(field) for field in fields]}
    for name, text, limit in (
        ("About", alert.description, DESCRIPTION_LENGTH),
        ("Response", alert.response, RESPONSE_LENGTH),
    ):
        if text:
            yield _section(f"*{name}* {in_prose(text, limit)}")
    if not routed.text:
        yield _code(alert.output)
    if repeats:
        yield _context(f":repeat: *{repeats.count}* more from {_time(repeats.first)} to {_time(repeats.last)} UTC")
    if any(alert.tags):
        yield _context(_tags([tag for tag in alert.tags if tag]))
    yield _context(f"{_time(alert.time)} UTC | `lanner context {in_code(alert.id, 64)}`")


def _fields(alert: Alert) -> Iterator[str]:
    """Yield the fields in the order of their worth; host and cluster are never crowded out."""
    places = [(name, text) for name, text in (("host", alert.hostname), ("cluster", alert.cluster_name)) if text]
    for name, text in (*islice(facts(alert), MAX_FIELDS - len(places)), *places):
        yield f"*{in_prose(name, NAME_LENGTH)}*\n`{in_code(text, FIELD_LENGTH) or ' '}`"


def _tags(tags: Sequence[str]) -> str:
    shown: list[str] = []
    left = TAGS_LENGTH
    for tag in tags:
        name, page = in_prose(tag, NAME_LENGTH), link(tag)
        # Only URLs that Lanner creates become links.
        piece = f"<{page}|{tag}>" if page else name
        left -= len(piece) + 2
        if left < 0:
            shown.append(f"and {len(tags) - len(shown)} more")
            break
        shown.append(piece)
    return "  ".join(shown)


def _hosts(alerts: Sequence[Alert], priority: str, rule: str) -> str:
    counts = Counter(each.hostname for each in alerts if each.rule == rule and each.priority == priority)
    names = [in_prose(name or "?", 40) for name, _ in counts.most_common(3)]
    return ", ".join(names) + (f" and {len(counts) - 3} other hosts" if len(counts) > 3 else "")


def _container(alert: Alert) -> str:
    name = text_of(alert, "container.name") or text_of(alert, "container.id")
    return name if is_in_container(alert) else ""


def _time(nanoseconds: int) -> str:
    return date_and_time_seconds(nanoseconds, utc=True)


def _code(text: str) -> dict[str, Any]:
    return _section(f"```{in_code(text, OUTPUT_LENGTH) or ' '}```")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: bare URLs and names stay text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
