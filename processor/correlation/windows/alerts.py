"""Makes the alert of a stateful rule: a pre-matched event and its window in, an alert out."""

from processor.correlation.plan.split import StatefulRule
from processor.correlation.pre_match import Candidate, PreMatch
from processor.correlation.window_fields import WindowToken, filled, leg_values
from processor.correlation.windows.outcome import Fired
from schemas.alert import Alert, Window, alert_id
from schemas.catalogue.sources import SYSCALL


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
