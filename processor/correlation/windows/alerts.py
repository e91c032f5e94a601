"""Makes the alert of a stateful rule: a pre-matched event and its window in, an alert out."""

from collections.abc import Mapping, Sequence

from processor.correlation.plan.split import StatefulRule
from processor.correlation.pre_match import Candidate, PreMatch
from processor.correlation.window_fields import MISSING, WindowToken
from processor.correlation.windows.outcome import Fired
from schemas.alert import Alert, Value, Window, alert_id
from schemas.catalogue.sources import SYSCALL
from schemas.text.times import iso8601_zulu


def stateful_alert(
    pre_match: PreMatch, candidate: Candidate, rule: StatefulRule, fired: Fired | None, tokens: tuple[WindowToken, ...]
) -> Alert:
    """Return the alert of a rule whose condition holds.

    Args:
        pre_match: the event.
        candidate: the term of the condition that holds.
        rule: the rule.
        fired: the window that is met; None if the rule only suppresses repeats.
        tokens: the values of the window that the output names.
    """
    if candidate.content is None:
        raise ValueError("a match without content can only be counted")
    content = candidate.content()
    text, of_window = filled(content.texts, tokens, fired, pre_match.group, is_partial=pre_match.is_partial)
    origin = pre_match.origin
    # Throttling alone doesn't change which alert it is.
    group = tuple(str(value) for value in pre_match.group) if rule.macros else ()
    cause = (origin.host_id, origin.boot_id, origin.collector_start, origin.sequence, origin.index)
    window = None
    if fired is not None:
        named = dict(zip(rule.group_by, pre_match.group, strict=True))
        window = Window(fired.count, fired.first, fired.last, named, fired.values, leg_values(fired))
    return Alert(
        id=alert_id(pre_match.time, rule.name, *group, *cause),
        time=pre_match.time,
        rule=rule.name,
        priority=rule.priority,
        output=text,
        output_fields={**content.fields, **of_window},
        tags=rule.tags,
        source=rule.source,
        hostname=pre_match.hostname,
        host_id=origin.host_id if rule.source == SYSCALL else "",
        event=content.event,
        window=window,
        description=rule.description,
        response=rule.response,
    )


AT_LEAST = "correlation.at_least"
"""The output field of an alert whose window would count more events, which were left out."""


def filled(
    texts: Sequence[str],
    tokens: Sequence[WindowToken],
    fired: Fired | None,
    group: Sequence[str | None],
    *,
    is_partial: bool = False,
) -> tuple[str, dict[str, Value]]:
    """Put the tokens' values between the pieces; return the text, and the values by their keys.

    Args:
        texts: the pieces, filled in.
        tokens: those between them.
        fired: the window; None if no window had to be met.
        group: the values of the group.
        is_partial: whether events that the window would count were left out.
    """
    values: dict[str, Value] = {AT_LEAST: True} if is_partial and fired is not None else {}
    parts = [texts[0]]
    for token, text in zip(tokens, texts[1:], strict=True):
        value = _value(token, fired, group)
        values[token.key] = value
        at_least = "at least " if AT_LEAST in values and token.what == "count" else ""
        parts += [at_least + _shown(token, value), text]
    return "".join(parts), values


def group_text(group: Sequence[str | None]) -> str:
    """Write a group's values as one text."""
    return ", ".join(MISSING if value is None else value for value in group)


def leg_values(fired: Fired) -> Mapping[str, Mapping[str, Value]]:
    """Return each leg's event: its time, its host, and the fields that outputs name."""
    return {name: {"evt.time": seen.time, "evt.hostname": seen.hostname, **seen.stored} for name, seen in fired.legs}


def _value(token: WindowToken, fired: Fired | None, group: Sequence[str | None]) -> Value:
    if token.what == "group":
        return group_text(group)
    if fired is None:
        return None
    if token.what == "leg":
        return leg_values(fired).get(token.leg, {}).get(token.field)
    if token.what == "values":
        return fired.values
    value: int = getattr(fired, token.what)
    return value


def _shown(token: WindowToken, value: Value) -> str:
    if value is None:
        return MISSING
    if isinstance(value, int) and (token.what in ("first", "last") or token.field in ("evt.time", "evt.rawtime")):
        return iso8601_zulu(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
