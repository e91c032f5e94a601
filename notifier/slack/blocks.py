"""An alert as a Slack message: pure, and within every limit whatever the alert holds.

Source of limits: docs.slack.dev, Block Kit reference; the bound on a message's blocks together is what Slack was seen
to enforce (msg_blocks_too_long at some 13,200 characters).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from notifier.delivery.outcome import RoutedAlert
from notifier.formats.mitre import link
from notifier.formats.severity import SEVERITY
from notifier.slack.text import in_code, in_prose
from schemas.alert import Alert, Repeats, Value
from schemas.text.times import date_and_time_seconds

Message = dict[str, Any]

MOST_FIELDS = 8
OUTPUT_LENGTH = 2800
FIELD_LENGTH = 400
NAME_LENGTH = 80
TAGS_LENGTH = 1800
DIGEST_LINES = 20

LOOKS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "Emergency": ("#b00020", ":rotating_light:"),
    "Alert": ("#b00020", ":rotating_light:"),
    "Critical": ("#d7263d", ":red_circle:"),
    "Error": ("#f46036", ":large_orange_circle:"),
    "Warning": ("#f5b700", ":warning:"),
    "Notice": ("#2e86ab", ":large_blue_circle:"),
    "Informational": ("#8ab6d6", ":information_source:"),
    "Debug": ("#b0b0b0", ":white_circle:"),
})  # fmt: skip
"""Colour and emoji by priority."""
PLACES = ("container.id", "container.name", "k8s.pod.name", "k8s.ns.name")
"""Fields of the event that a message shows whatever its rule's output names."""
_SHOWN_ELSEWHERE = frozenset({*PLACES, "evt.hostname", "evt.time"})


def message(parcel: RoutedAlert, repeats: Repeats | None = None) -> Message:
    """Give the message of one alert.

    Args:
        parcel: the alert, and a template's text if its route has one.
        repeats: how often it came again, once that is known.
    """
    alert = parcel.alert
    told = repeats or alert.repeats
    return _message(headline(alert, told), alert.priority, list(_blocks(parcel, told)))


def stands_for(alert: Alert) -> int:
    """Give how many alerts one stands for: a summary for those that were not sent."""
    return alert.repeats.count if alert.repeats else 1


def headline(alert: Alert, repeats: Repeats | None = None) -> str:
    """Give the line that a phone shows: priority, rule, where."""
    where = in_prose(alert.hostname or "?", NAME_LENGTH)
    within = _text(alert, "k8s.pod.name") or _container(alert)
    if within:
        where += f" / {in_prose(within, NAME_LENGTH)}"
    again = f" | {repeats.count} more" if repeats else ""
    return f"{LOOKS[alert.priority][1]} {alert.priority} | {in_prose(alert.rule, 200)} | {where}{again}"


def digest(alerts: Sequence[Alert]) -> Message:
    """Give one message for many alerts: every one is in a count."""
    counts = Counter[tuple[str, str]]()
    for alert in alerts:
        counts[alert.priority, alert.rule] += stands_for(alert)
    ranked = sorted(counts.items(), key=lambda item: (SEVERITY[item[0][0]], -item[1], item[0][1]))
    gravest = ranked[0][0][0]
    lines = [
        f"{LOOKS[priority][1]} *{count}* {priority} | {in_prose(rule, NAME_LENGTH)} | {_hosts(alerts, priority, rule)}"
        for (priority, rule), count in ranked[:DIGEST_LINES]
    ]
    rest = ranked[DIGEST_LINES:]
    if rest:
        lines.append(f"and *{sum(count for _, count in rest)}* of {len(rest)} other rules")
    first, last = alerts[0], alerts[-1]
    span = f"{_time(min(each.time for each in alerts))} to {_time(max(each.time for each in alerts))} UTC"
    # Two lines' worth of text a section stays below its limit.
    sections = [_section("\n".join(lines[start : start + 4])) for start in range(0, len(lines), 4)]
    footer = _context(f"{span} | from `lanner context {first.id}` to `{last.id}`")
    text = f"{LOOKS[gravest][1]} {counts.total()} alerts of {len(counts)} rules, too many for a message each"
    return _message(text, gravest, [*sections, footer])


def _message(text: str, priority: str, blocks: list[dict[str, Any]]) -> Message:
    return {
        "text": text,
        "attachments": [{"color": LOOKS[priority][0], "fallback": text, "blocks": blocks}],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _blocks(parcel: RoutedAlert, repeats: Repeats | None) -> Iterator[dict[str, Any]]:
    alert = parcel.alert
    yield _section(f"*{in_prose(alert.rule, 200)}*")
    yield _section(f"```{in_code(parcel.text or alert.output, OUTPUT_LENGTH) or ' '}```")
    fields = list(_fields(alert))
    if fields:
        yield {"type": "section", "fields": [_mrkdwn(field) for field in fields]}
    if repeats:
        yield _context(f":repeat: *{repeats.count}* more from {_time(repeats.first)} to {_time(repeats.last)} UTC")
    if any(alert.tags):
        yield _context(_tags([tag for tag in alert.tags if tag]))
    yield _context(f"{_time(alert.time)} UTC | `lanner context {in_code(alert.id, 64)}`")


def _fields(alert: Alert) -> Iterator[str]:
    """Give the fields: the rule's own first, as many as leave room for the place where it happened."""
    pod, namespace = _text(alert, "k8s.pod.name"), _text(alert, "k8s.ns.name")
    places = {"host": alert.hostname, "container": _container(alert)}
    places["pod"] = f"{namespace}/{pod}" if pod and namespace else pod
    places = {name: text for name, text in places.items() if text}
    own = {
        name: _shown(value)
        for name, value in alert.output_fields.items()
        if value is not None and name not in _SHOWN_ELSEWHERE
    }
    for name, text in (*list(own.items())[: MOST_FIELDS - len(places)], *places.items()):
        yield f"*{in_prose(name, NAME_LENGTH)}*\n`{in_code(text, FIELD_LENGTH) or ' '}`"


def _tags(tags: Sequence[str]) -> str:
    shown: list[str] = []
    left = TAGS_LENGTH
    for tag in tags:
        name, page = in_prose(tag, NAME_LENGTH), link(tag)
        # Only addresses that we make ourselves are links.
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
    name = _text(alert, "container.name") or _text(alert, "container.id")
    return "" if _text(alert, "container.id") in ("host", "") else name


def _text(alert: Alert, field: str) -> str:
    value = alert.event.get(field, alert.output_fields.get(field))
    return "" if value is None else _shown(value)


def _shown(value: Value) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _time(nanoseconds: int) -> str:
    return date_and_time_seconds(nanoseconds, utc=True)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: bare addresses and names stay text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
