"""The events of a recording, file by file."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from foundation.text import OnNote, count_of, ignore_note
from foundation.times import date_and_time_seconds
from lanner.errors import BadInput
from lanner.recorder.context import EventQuery, IsTrigger, QueryResult, by_id, by_number, remarks_on
from lanner.recorder.rolling import ALERTS
from lanner.recorder.search import EventPortion
from lanner.recorder.store import EARLIER_MS, LOCK, EventSpan, StoredBatch, from_files, recordings
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


def stored_alerts(path: Path, note: OnNote = ignore_note) -> Iterator[Alert]:
    """Yield the alerts of a recording in order, oldest first.

    The last alert of a file may be truncated: the file is still being written, or its writer was killed.

    Args:
        path: the folder of a recording, or one file of alerts.
        note: receives which file can't be read.

    Raises:
        BadInput: There is none, or it can't be read.
    """
    if path.is_file():
        try:
            yield from read_alerts(path)
        except BadAlert as error:
            raise BadInput(f"{error}.") from None
        return
    for file in sorted((path / ALERTS).glob("*.avro")):
        try:
            yield from read_alerts(file)
        except FileNotFoundError:
            # The recording continues: it was the oldest file.
            continue
        except BadAlert as error:
            note(f"{error}; continuing with the next file.")


def read_alerts(path: Path) -> Iterator[Alert]:
    """Yield the alerts of a file in order, whichever release wrote it.

    Raises:
        OSError: the file can't be read.
        BadAlert: the file does not hold alerts, or one is damaged; the alerts before it are valid.
    """
    try:
        for schema, datum in read_blocks(path, ALERT_FORMAT, "alerts"):
            yield decode_alert(ALERT_FORMAT.translated(datum, schema))
    except (BadBatch, UnreadableMessage) as error:
        raise BadAlert(str(error)) from None


class RecordingHistory:
    """The events of a recording, which may still be written."""

    def __init__(self, path: Path, note: OnNote = ignore_note) -> None:
        """Prepare reading.

        Args:
            path: the folder of a recording, or one file of events.
            note: receives what can't be read.
        """
        self._path = path
        self._note = note

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield the batches of a time range; EventHistory describes the arguments."""
        first = last = 0
        try:
            for stored in from_files((self._path,), span.since * 1_000_000, note=self._note):
                first, last = first or stored.appended, stored.appended
                if host in (None, stored.batch.hostname, stored.batch.host_id):
                    yield stored
                if stop():
                    break
        finally:
            start, end = (date_and_time_seconds(time_ms * 1_000_000) for time_ms in (first, last))
            if not first:
                remarks.append("The recording has no events.")
            elif first > span.time:
                remarks.append(f"The recording begins at {start}, after the alert.")
            elif last < span.time:
                remarks.append(f"The recording is from {start} to {end}, before the alert.")


def from_recording(
    query: EventQuery, path: Path, rule_names: Callable[[], frozenset[str]], note: OnNote
) -> QueryResult:  # fmt: skip
    """Find an alert, and the batches of its host.

    Args:
        query: the query.
        path: the folder of a recording, or one file of events, which has no alerts.
        rule_names: returns the rules that may have raised an alert, if it is not stored.
        note: receives what can't be read.

    Raises:
        BadInput: The recording or the rules can't be read.
    """
    alerts = [] if path.is_file() else [alert for alert in stored_alerts(path, note) if query.includes(alert)]
    alert = next((each for each in alerts if each.id == query.id), None)
    remarks = [] if alert is None else remarks_on(alert)
    span = EventSpan(query.time - query.before - EARLIER_MS, query.time)
    source = RecordingHistory(path, note)
    host = query.host or (None if alert is None else alert.host_id or None)
    batches = source.batches(span, host, remarks, lambda: False)
    return QueryResult(batches, alert, _trigger(query, alert, rule_names), remarks, alerts, source)


def _trigger(query: EventQuery, alert: Alert | None, rule_names: Callable[[], frozenset[str]]) -> IsTrigger:
    if alert is not None:
        return by_number(alert.time, alert.event.get("evt.num"))
    return by_id(query.id, rule_names())


class RecordingRange:
    """The batches of a recording that were made between two times."""

    def __init__(self, path: Path, since: int, until: int) -> None:
        """Find the files. Raises BadInput.

        Args:
            path: a recording, or a folder of them in the order of their names.
            since: ms since the epoch.
            until: likewise.
        """
        self.bytes = 0
        self.remarks: list[str] = []
        self._range = since, until
        self._files = [(file, _begin(file), _size(file)) for file in reversed(recordings((path,)))]
        self._total = sum(size for _, begin, size in self._files if begin is None or begin < until)

    @property
    def share(self) -> float:
        """How much of it has been read, from 0 to 1."""
        return min(self.bytes / self._total, 1.0) if self._total else 1.0

    def portions(self, stop: Callable[[], bool]) -> Iterator[EventPortion]:
        """Yield the files, newest first; stop is called between batches."""
        since, until = self._range
        oldest: int | None = None
        for file, begin, size in self._files:
            if begin is not None and begin >= until:
                continue
            yield EventPortion(max(begin or 0, since), self._batches(file, stop))
            self.bytes += size
            if begin is not None:
                oldest = begin if oldest is None else min(oldest, begin)
                if begin <= since and (file.parent / LOCK).exists():
                    # `lanner run` wrote them, in order: older ones end before this one begins.
                    return
        if oldest is not None and oldest > since > 0:
            self.remarks.append(f"The recording begins at {date_and_time_seconds(oldest * 1_000_000)}.")

    def close(self) -> None:
        """Do nothing."""

    def _batches(self, file: Path, stop: Callable[[], bool]) -> Iterator[StoredBatch]:
        since, until = self._range
        try:
            for batch in read_recording(file):
                if stop():
                    return
                made = batch.created // 1_000_000
                if since <= made < until:
                    yield StoredBatch(batch, made)
        except FileNotFoundError:
            # The recording continues: it was the oldest file.
            return
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror}.") from None
        except BadBatch as error:
            # It may still be being written.
            self.remarks.append(f"{error}.")


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
