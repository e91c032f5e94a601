"""Answers for events that a user passed, or that this host or a broker retains."""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from lanner.errors import BadInput
from lanner.recorder.query import EventQuery, QueryResult
from lanner.ruleset.explanation.answer import Explanation, answer
from lanner.ruletest.events.input import BatchEvent, given_alert, given_fields, stated_event
from processor.detection.explain import MappingEvaluator, explain, explain_batch
from processor.loading import Rule

_MS = 1_000_000


def answer_for_value(rule: Rule, value: Any) -> Explanation:
    """Return whether a rule matches an event that was passed as JSON. Raises BadInput.

    Args:
        rule: the rule.
        value: an alert, a row of `events tail`, a mapping of fields, or the event of a rule test.
    """
    stated = stated_event(value)
    if stated is not None:
        return answer_for_event(rule, stated)
    fields: Mapping[str, Any] = given_fields(value)
    return answer(explain(rule, MappingEvaluator(fields, is_partial=True)), rule.event_types, fields.get("evt.type"))


def answer_for_event(rule: Rule, event: BatchEvent) -> Explanation:
    """Return whether a rule matches an event of a batch."""
    batch, index = event.batch, event.index
    event_type = batch.strings[batch.columns["type"][index]]
    return answer(explain_batch(rule, batch, index), rule.event_types, event_type)


def raised_by(rule: Rule, value: Any) -> bool:
    """Return whether a value is an alert of a rule."""
    alert = given_alert(value)
    return alert is not None and alert.rule == rule.name


def event_of(query: EventQuery, found: QueryResult, stop: Callable[[], bool]) -> BatchEvent:
    """Return the event that raised an alert.

    Args:
        query: the alert's id.
        found: the batches that may have its event.
        stop: called between batches; True stops the search.

    Raises:
        BadInput: The event is not among them.
    """
    with closing(found.batches) as batches:
        for stored in batches:
            for index, time in enumerate(stored.batch.columns["time"]):
                if time // _MS == query.time and found.is_trigger(stored.batch, index):
                    return BatchEvent(stored.batch, index)
            if stop():
                break
    raise BadInput(f"the event of alert {query.id} is not retained.", *found.remarks)
