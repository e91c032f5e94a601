"""Answers for events that a user passed, or that this host or a broker retains."""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from lanner.errors import BadInput
from lanner.recorder.query import EventQuery, QueryResult
from lanner.ruleset.explanation.answer import Explanation, answer
from lanner.ruletest.events.input import BatchEvent, given_alert, given_fields, stated_event
from processor.audit.events import BadAuditEvent
from processor.audit.events import event_of as event_of_document
from processor.detection.explain import MappingEvaluator, explain, explain_batch
from processor.fields.audit.cloud_logging import is_log_entry
from processor.fields.audit.source import KUBERNETES, JsonSource
from processor.loading import Rule
from schemas.catalogue.fields import resolve_field
from schemas.catalogue.sources import K8S_AUDIT, SYSCALL

_MS = 1_000_000
_OF_SOURCE = frozenset({""})
"""The event types of sources whose events have no type."""
SourceNamed = Callable[[str], JsonSource]
"""Returns a source of JSON by its name; raises BadInput."""


def answer_for_value(rule: Rule, value: Any, source_named: SourceNamed) -> Explanation:
    """Return whether a rule matches an event that was passed as JSON. Raises BadInput.

    Args:
        rule: the rule.
        value: an alert, a row of `events tail`, a mapping of fields, the event of a rule test, a Kubernetes audit
            event, or an event of the rule's source if that has JSON.
        source_named: returns a source of JSON.
    """
    if is_log_entry(value) or (isinstance(value, dict) and "auditID" in value):
        return _answer_for_document(rule, next(iter(KUBERNETES.split(value)), value), KUBERNETES)
    if rule.source not in (SYSCALL, K8S_AUDIT) and _is_document(value):
        return _answer_for_document(rule, value, source_named(rule.source))
    stated = stated_event(value)
    if stated is not None:
        return answer_for_event(rule, stated)
    fields: Mapping[str, Any] = given_fields(value)
    tree = explain(rule, MappingEvaluator(fields, is_partial=True))
    if rule.source != SYSCALL:
        return answer(tree, _OF_SOURCE, "")
    return answer(tree, rule.event_types, fields.get("evt.type"))


def _is_document(value: Any) -> bool:
    """Return whether a value is the JSON of an event, and neither an alert nor a mapping of fields."""
    is_alert = given_alert(value) is not None
    return isinstance(value, dict) and not is_alert and not any(resolve_field(key) for key in value)


def _answer_for_document(rule: Rule, value: Any, source: JsonSource) -> Explanation:
    try:
        event = event_of_document(value, 0, None, source, otherwise=0)
    except BadAuditEvent as error:
        raise BadInput(f"the event is {error}.") from None
    tree = explain(rule, MappingEvaluator(event, is_computed=True))
    if rule.source != source.name:
        reason = f"its source is {rule.source}, and the event is of {source.name}"
        return Explanation("does not match", tree, (reason,), ())
    return answer(tree, _OF_SOURCE, "")


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
