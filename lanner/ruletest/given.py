"""Events passed to a command: from a recording, an alert, a line of `events tail`, or the event of a rule test."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.yaml.mappings import BadMapping
from foundation.yaml.nodes import YamlError
from lanner.errors import BadInput, or_bad_input
from lanner.recorder.context import EventQuery, QueryResult
from lanner.recorder.event_rows import ROW_FIELDS
from lanner.ruleset.explanation import Explanation, answer
from lanner.ruletest.reading import read_events, read_values
from lanner.ruletest.world import make_batch
from processor.detection.explain import MappingEvaluator, explain, explain_batch
from processor.fields.json.cloud_logging import is_log_entry
from processor.fields.json.documents import KUBERNETES, JsonSource
from processor.fields.json.documents import event_of as event_of_document
from processor.fields.json.parsing import BadJsonEvent
from processor.loading import Rule, report
from processor.output.formatter import known_fields
from schemas.batch import EventBatch
from schemas.catalog.fields import K8S_AUDIT, SYSCALL, resolve_field
from schemas.encoding.batch import BadBatch
from schemas.encoding.recording import is_container, read_recording

_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GivenAlert:
    """An alert as JSON; its fields are all that is known about its event."""

    rule: str
    priority: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """An event of a batch."""

    batch: EventBatch
    index: int


def is_recording(path: Path) -> bool:
    """Return whether a file is an Avro container. Raises BadInput if it can't be read."""
    with or_bad_input(path), path.open("rb") as file:
        return is_container(file.peek(1))


def recorded_batches(path: Path) -> Iterator[EventBatch]:
    """Yield the batches of a recording. Raises BadInput."""
    try:
        with or_bad_input(path):
            yield from read_recording(path)
    except BadBatch as error:
        raise BadInput(f"{error}.") from None


def recorded_event(path: Path, number: int | None) -> BatchEvent:
    """Find an event of a recording by its evt.num; without one, the recording must have exactly one event.

    Raises BadInput if the event was not found.
    """
    count = 0
    first = last = 0
    only: BatchEvent | None = None
    for batch in recorded_batches(path):
        if not batch.count:
            continue
        index = -1 if number is None else number - batch.first_number
        if 0 <= index < batch.count:
            return BatchEvent(batch, index)
        first, last = first or batch.first_number, batch.first_number + batch.count - 1
        count += batch.count
        only = BatchEvent(batch, 0)
    if number is None and count == 1 and only is not None:
        return only
    if number is None:
        raise BadInput(f"{path}: has {count:,} events; choose one by --num (evt.num, from {first} to {last}).")
    raise BadInput(f"{path}: no event has evt.num {number}; they go from {first} to {last}.")


def read_given(text: str) -> list[Any]:
    """Parse JSON from a file or from the text itself: one value, a list of them, or one a line. Raises BadInput.

    The text itself may be YAML, as in a rule test.
    """
    source = "the event"
    if not is_json(text):
        source, path = text, Path(text)
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise BadInput(f"{text}: has more than {_MAX_BYTES:,} bytes; extract one event from it.")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{text}: {error.strerror}. Pass a file, or JSON in quotes.") from None
        except (UnicodeDecodeError, ValueError):
            raise BadInput(f"{text}: neither a recording nor UTF-8 text.") from None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if source == "the event":
            with suppress(YamlError, BadMapping):
                return read_values(text)
        return _lines(text, source)
    return value if isinstance(value, list) else [value]


def is_json(text: str) -> bool:
    """Return whether an argument is JSON or YAML itself, not the path of a file."""
    return text.lstrip().startswith(("{", "[", "- "))


def _lines(text: str, source: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            where = f"{source}:{number}" if found or len(text.splitlines()) > 1 else source
            raise BadInput(f"{where}: not valid JSON: {error}.") from None
    return found


def choose_given(source: str, number: int | None = None, identity: str | None = None) -> Any:
    """Return an event or alert of a file, or of JSON: the only one, that at a position from 1, or that with an id.

    Raises BadInput if there is no such event, or if none was chosen of several.
    """
    values = read_given(source)
    name = "the JSON" if is_json(source) else source
    if identity is not None:
        found = [value for value in values if isinstance(value, dict) and value.get("id") == identity]
        if not found:
            raise BadInput(f"{name}: no alert has the id {identity}.")
        return found[0]
    if number is None and len(values) == 1:
        return values[0]
    if not values:
        raise BadInput(f"{name}: has no events.")
    if number is None:
        raise BadInput(f"{name}: has {len(values):,} events; choose one by --num (1 to {len(values)}).")
    if not 0 < number <= len(values):
        raise BadInput(f"{name}: has no event {number}; they are numbered from 1 to {len(values)}.")
    return values[number - 1]


def given_alert(value: Any) -> GivenAlert | None:
    """Return the alert if the JSON is one, else None."""
    if not isinstance(value, dict) or not isinstance(value.get("output_fields"), dict):
        return None
    own = value["output_fields"]
    if "repeats.count" in own:
        # A summary lists the values in which its alerts differ.
        own = {name: each for name, each in own.items() if not isinstance(each, list)}
    fields = {**own, **(value["event"] if isinstance(value.get("event"), dict) else {})}
    return GivenAlert(str(value.get("rule", "")), str(value.get("priority", "")), fields)


def given_fields(value: Any) -> Mapping[str, Any]:
    """Return what is known about an event: from an alert, a row of `events tail`, or a plain mapping.

    A value of None is missing; a field that is not in the result is unknown. Raises BadInput.
    """
    alert = given_alert(value)
    if alert is not None:
        event = {} if "repeats.count" in alert.fields else value.get("event") or {}
        return {**known_fields({}, event), **alert.fields}
    if not isinstance(value, dict):
        raise BadInput("the event is not a JSON object of fields and values.")
    fields = {key: each for key, each in value.items() if key != "evt.args"}
    if isinstance(value.get("evt.args"), dict):
        fields |= {f"evt.arg.{key}": each for key, each in value["evt.args"].items()}
    return {**dict.fromkeys(ROW_FIELDS if "batch.sequence" in value else ()), **fields}


def stated_event(value: Any) -> BatchEvent | None:
    """Return the event of a mapping that states causes, as rule tests do; it has `proc`. Raises BadInput."""
    if not isinstance(value, dict) or "proc" not in value:
        return None
    events, problems = read_events("event", json.dumps(value, ensure_ascii=False))
    if problems:
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in problems))
    return BatchEvent(make_batch(events), 0)


_MS = 1_000_000
_OF_SOURCE = frozenset({""})
"""The event types of sources whose events have no type."""
SourceNamed = Callable[[str], JsonSource]
"""Returns a source of JSON by its name; raises BadInput."""


def answer_for_value(rule: Rule, value: Any, source_named: SourceNamed) -> Explanation:
    """Return whether a rule matches an event that was passed as JSON. Raises BadInput.

    value: an alert, a row of `events tail`, a mapping of fields, the event of a rule test, a Kubernetes audit event, or
    an event of the rule's source if that has JSON.
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
    except BadJsonEvent as error:
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


def answers_for_recording(rule: Rule, path: Path) -> Iterator[tuple[int, Explanation]]:
    """Yield evt.num and the answer for each event of a recording of a type that a rule is evaluated for."""
    for batch in recorded_batches(path):
        for index, type_index in enumerate(batch.columns["type"]):
            if batch.strings[type_index] in rule.event_types:
                number = batch.numbers[index] if batch.numbers else batch.first_number + index
                yield number, answer_for_event(rule, BatchEvent(batch, index))


def raised_by(rule: Rule, value: Any) -> bool:
    """Return whether a value is an alert of a rule."""
    alert = given_alert(value)
    return alert is not None and alert.rule == rule.name


def event_of(query: EventQuery, found: QueryResult, stop: Callable[[], bool]) -> BatchEvent:
    """Return the event that raised an alert, from the batches that may have it. Raises BadInput if none has."""
    with closing(found.batches) as batches:
        for stored in batches:
            for index, time in enumerate(stored.batch.columns["time"]):
                if time // _MS == query.time and found.is_trigger(stored.batch, index):
                    return BatchEvent(stored.batch, index)
            if stop():
                break
    raise BadInput(f"the event of alert {query.id} is not retained.", *found.remarks)
