"""Events passed to a command: from a recording, an alert, a line of `events tail`, or the event of a rule test."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanner.errors import BadInput
from lanner.recorder.event_rows import ROW_FIELDS
from lanner.ruletest.reading import read_events
from lanner.ruletest.world import make_batch
from processor.loading.problems import report
from processor.output.event_row import known_fields
from schemas.batch import EventBatch
from schemas.codec import BadBatch
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
    try:
        with path.open("rb") as file:
            return is_container(file.peek(1))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None


def recorded_event(path: Path, number: int | None) -> BatchEvent:
    """Find an event of a recording by its evt.num; without one, the recording must have exactly one event.

    Raises:
        BadInput: The event was not found.
    """
    count = 0
    first = last = 0
    only: BatchEvent | None = None
    try:
        for batch in read_recording(path):
            if not batch.count:
                continue
            index = -1 if number is None else number - batch.first_number
            if 0 <= index < batch.count:
                return BatchEvent(batch, index)
            first, last = first or batch.first_number, batch.first_number + batch.count - 1
            count += batch.count
            only = BatchEvent(batch, 0)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None
    except BadBatch as error:
        raise BadInput(f"{error}.") from None
    if number is None and count == 1 and only is not None:
        return only
    if number is None:
        raise BadInput(f"{path}: has {count:,} events; choose one by --num (evt.num, from {first} to {last}).")
    raise BadInput(f"{path}: no event has evt.num {number}; they go from {first} to {last}.")


def read_given(text: str) -> list[Any]:
    """Parse JSON from a file or from the text itself: one value, a list of them, or one a line. Raises BadInput."""
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
        return _lines(text, source)
    return value if isinstance(value, list) else [value]


def is_json(text: str) -> bool:
    """Return whether an argument is JSON itself, not the path of a file."""
    return text.lstrip()[:1] in ("{", "[")


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
    """Return the only event or alert of a file or text, or a chosen one.

    Args:
        source: path of a file, or JSON.
        number: its position in the file, from 1.
        identity: the id of an alert.

    Raises:
        BadInput: There is no such event, or none was chosen of several.
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
