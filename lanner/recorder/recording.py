"""Events and alerts of recordings, file by file, and the lines of an exported incident."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from foundation.text import OnNote, count_of, ignore_note
from lanner.errors import BadInput
from lanner.recorder.rolling import ALERTS
from lanner.recorder.store import (
    LOCK,
    EventPortion,
    EventRange,
    Reading,
    Stop,
    StoredBatch,
    each_readable,
    from_files,
    read_file,
    recordings,
    time_text,
)
from schemas.alert import ALERT_FORMAT, Alert, BadAlert, decode_alert
from schemas.encoding.batch import BadBatch
from schemas.encoding.recording import is_container, read_blocks, read_metadata, read_recording
from schemas.encoding.wire import UnreadableMessage

INCIDENT = "lanner.incident"
"""Name of the JSON in the file's header."""
_MAX_SHOWN = 5


def read_incident(path: Path) -> Mapping[str, Any] | None:
    """Return what the header of a recording states about an incident; None if it is another file. Raises OSError."""
    try:
        with path.open("rb") as file:
            if not is_container(file.peek(1)):
                return None
            stated = json.loads(read_metadata(file, path).get(INCIDENT, b"null"))
    except (BadBatch, ValueError, RecursionError):
        # The reader of its events reports that the file is damaged.
        return None
    return stated if isinstance(stated, dict) else None


def incident_lines(stated: Mapping[str, Any]) -> list[str]:
    """Return sentences for people; texts are as stated."""
    alerts = _list(stated, "alerts")
    rules = dict.fromkeys(str(each.get("rule")) for each in alerts if isinstance(each, dict))
    span = f"{_text(stated, 'since')} to {_text(stated, 'until')}"
    count = count_of(len(alerts), "alert")
    lines = [f"incident of {span} on {_joined(_list(stated, 'hosts'))}, with {count} then: {_joined(list(rules))}"]
    if versions := _list(stated, "rules_versions"):
        lines.append(f"versions of the rules then: {_joined(versions)}")
    if remark := stated.get("remark"):
        lines.append(str(remark))
    return lines


def _list(stated: Mapping[str, Any], name: str) -> list[Any]:
    found = stated.get(name)
    return found if isinstance(found, list) else []


def _text(stated: Mapping[str, Any], name: str) -> str:
    return str(stated.get(name, "?"))


def _joined(texts: list[Any]) -> str:
    more = f" and {len(texts) - _MAX_SHOWN} more" if len(texts) > _MAX_SHOWN else ""
    return ", ".join(map(str, texts[:_MAX_SHOWN])) + more if texts else "none"


def read_alerts(path: Path) -> Iterator[Alert]:
    """Yield the alerts of a file in order, whichever release wrote it. Raises OSError if it can't be read.

    Raises BadAlert if it does not contain alerts, or if one is damaged; the alerts before that are valid.
    """
    try:
        for schema, datum in read_blocks(path, ALERT_FORMAT, "alerts"):
            yield decode_alert(ALERT_FORMAT.translated(datum, schema))
    except (BadBatch, UnreadableMessage) as error:
        raise BadAlert(str(error)) from None


class RecordingStore:
    """The events and alerts of a recording, which may still be written, or those of one file."""

    def __init__(self, path: Path, note: OnNote = ignore_note) -> None:
        """Take the folder of a recording, or one file. note: receives which files can't be read."""
        self.name = str(path)
        self.scope: Literal["file", "host", "fleet"] = "file" if path.is_file() else "host"
        self._path = path
        self._note = note

    def batches(self, events: EventRange, stop: Stop) -> Reading[StoredBatch]:
        """Return the batches of a time range; EventStore describes the arguments."""
        return Reading(partial(self._batches, events, stop))

    def _batches(self, events: EventRange, stop: Stop, reading: Reading[StoredBatch]) -> Generator[StoredBatch]:
        first = last = 0
        try:
            for stored in from_files((self._path,), events.since * 1_000_000, note=self._note):
                first, last = first or stored.appended, stored.appended
                reading.done += 1
                if events.host in (None, stored.batch.hostname, stored.batch.host_id):
                    yield stored
                if stop():
                    break
        finally:
            if events.about is not None:
                reading.remarks += _remarks_on_range(first, last, events.about)

    def portions(self, events: EventRange, stop: Stop) -> Reading[EventPortion]:
        """Return its files, newest first; EventStore describes the arguments."""
        return Reading(partial(self._portions, events, stop))

    def _portions(self, events: EventRange, stop: Stop, reading: Reading[EventPortion]) -> Generator[EventPortion]:
        since, until = events.since, events.until or 0
        files = [(file, _begin(file), _size(file)) for file in reversed(recordings((self._path,)))]
        reading.total = sum(size for _, begin, size in files if begin is None or begin < until)
        if not reading.total:
            reading.total = reading.done = 1

        def batches(file: Path) -> Iterator[StoredBatch]:
            for stored in read_file(file):
                if stop():
                    return
                if since <= stored.appended < until:
                    yield stored

        def report(_: Path, error: Exception) -> None:
            # It may still be being written.
            reading.remarks.append(f"{error}.")

        oldest: int | None = None
        for file, begin, size in files:
            if begin is not None and begin >= until:
                continue
            yield EventPortion(max(begin or 0, since), each_readable((file,), batches, report))
            reading.done += size
            reading.bytes += size
            if begin is not None:
                oldest = begin if oldest is None else min(oldest, begin)
                if begin <= since and (file.parent / LOCK).exists():
                    # `lanner run` wrote them, in order: older ones end before this one begins.
                    return
        if oldest is not None and oldest > since > 0:
            reading.remarks.append(f"The recording begins at {time_text(oldest)}.")

    def alerts(self, events: EventRange | None = None, stop: Stop = lambda: False) -> Iterator[Alert]:
        """Yield all its alerts, oldest first; stop ends reading. Raises BadInput for a file without alerts, or damaged.

        The last one of a file may be truncated: the file is still being written then, or its writer was killed. The
        time range isn't used, as all of them are few.
        """
        del events
        is_file = self._path.is_file()

        def report(_: Path, error: Exception) -> None:
            if is_file:
                raise BadInput(f"{error}.") from None
            self._note(f"{error}; continuing with the next file.")

        files = [self._path] if is_file else sorted((self._path / ALERTS).glob("*.avro"))
        for alert in each_readable(files, read_alerts, report):
            yield alert
            if stop():
                return

    def alert(self, alert_id: str, near: int, stop: Stop, show: Callable[[str], None]) -> Alert | None:
        """Return an alert; None if it isn't stored, or if this is one file. EventStore describes the arguments."""
        del near, show
        alerts = () if self.scope == "file" else self.alerts(stop=stop)
        return next((alert for alert in alerts if alert.id == alert_id), None)


def _remarks_on_range(first: int, last: int, about: int) -> Iterator[str]:
    """Yield whether a recording from first to last has a time; ms since the epoch."""
    if not first:
        yield "The recording has no events."
    elif first > about:
        yield f"The recording begins at {time_text(first)}, after the alert."
    elif last < about:
        yield f"The recording is from {time_text(first)} to {time_text(last)}, before the alert."


def _begin(file: Path) -> int | None:
    """Return when the first batch of a file was made, ms; None if that is unknown."""
    with contextlib.suppress(OSError, BadBatch), contextlib.closing(read_recording(file)) as batches:
        first = next(batches, None)
        return None if first is None else first.created // 1_000_000
    return None


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0
