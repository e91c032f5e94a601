"""Marks and audit log in files of one host: JSON lines, each on disk before it counts."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from threading import Lock

from foundation.files import open_private, write_atomically
from foundation.text import OnNote
from lanner.console.feed import Action
from lanner.console.store.rows import Mark, read_mark
from lanner.errors import BadInput
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import ALERTS
from schemas.alert import Alert, BadAlert, decode_alert, encode_alert


class LineFile:
    """Appends lines of JSON to a private file: the audit log of one host, and its marks."""

    def __init__(self, path: Path) -> None:
        """Open the file; create it if missing. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
        self._lock = Lock()

    def record(self, row: Mark | Action) -> None:
        """Append a line and wait until it is on disk. Raises OSError."""
        with self._lock:
            os.write(self._descriptor, _line(row))
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class MarkFile:
    """The marks of one host. The file is rewritten at each start with the newest mark of each subject and field."""

    def __init__(self, path: Path) -> None:
        """Read the file; a line that was not written completely is skipped. Raises OSError."""
        self._marks: dict[tuple[str, str], Mark] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(line)
        write_atomically(path, map(_line, self._marks.values()), is_synced=True)
        self._file = LineFile(path)

    def read_all(self) -> Sequence[Mark] | None:
        """Return all marks."""
        return list(self._marks.values())

    def read_new(self) -> Sequence[Mark]:
        """Return nothing: the only writer is this process."""
        return ()

    def put(self, mark: Mark) -> None:
        """Append a mark. Raises OSError."""
        self._file.record(mark)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, line: str) -> None:
        try:
            row = json.loads(line)
            key, value = f"{row['subject']}\x1f{row['field']}", json.dumps(row)
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        mark = read_mark(key.encode(), value.encode())
        if mark is None:
            return
        self._marks.pop((mark.subject, mark.field), None)
        if mark.value:
            self._marks[mark.subject, mark.field] = mark


def _line(row: Mark | Action) -> bytes:
    return f"{json.dumps(asdict(row))}\n".encode()


MAX_WAITING = 20_000
MAX_BATCH = 500


class LocalAlerts:
    """Takes alerts without waiting. If nothing empties it, the oldest are dropped and counted."""

    def __init__(self, earlier: Iterable[Alert] = ()) -> None:
        """Begin with earlier alerts, which are read as the view takes them."""
        self.dropped = 0
        self._earlier = iter(earlier)
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._changed = threading.Condition()

    def put(self, alert: Alert) -> None:
        """Add an alert."""
        with self._changed:
            self.dropped += len(self._waiting) == MAX_WAITING
            # Encoded, it has no undecodable text, as an alert of the topic.
            self._waiting.append(encode_alert(alert))
            self._changed.notify()

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds."""
        earlier = list(islice(self._earlier, MAX_BATCH))
        if earlier:
            return earlier
        with self._changed:
            if not self._waiting:
                self._changed.wait(seconds)
            taken = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        return [alert for data in taken if (alert := _decoded(data)) is not None]

    def positions(self) -> Mapping[int, int]:
        """Return nothing: what was read before a restart is in the view or in the recording."""
        return {}

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return how many alerts wait."""
        return {("process", "0"): len(self._waiting)}

    def close(self) -> None:
        """Do nothing."""


def _decoded(data: bytes) -> Alert | None:
    try:
        return decode_alert(data)
    except BadAlert:
        return None


_LOOK_SECONDS = 2.0


class RecordedAlerts:
    """Reads a recording. The view skips what it has already."""

    def __init__(self, path: Path, note: OnNote, *, follow: bool) -> None:
        """Begin with the folder of a recording, or one file of alerts. Raises BadInput if the file doesn't hold alerts.

        note: receives which file can't be read; follow: read again when `lanner run` has written more.
        """
        self._path = path
        self._store = RecordingStore(path, note)
        self._follow = follow
        self._state = self._files()
        self._alerts: Iterator[Alert] = self._store.alerts()
        # A file without alerts is refused at once, and not when the console serves already.
        self._alerts = chain(list(islice(self._alerts, 1)), self._alerts)
        self._note = note
        self._look_at = 0.0

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds. Raises OSError."""
        found: list[Alert] = []
        try:
            for alert in islice(self._alerts, MAX_BATCH):
                found.append(alert)  # noqa: PERF402  what precedes the damage stays
        except BadInput as error:
            self._note(f"console: {self._path} is damaged: {error} What precedes that is shown.", "error")
        if found:
            return found
        time.sleep(seconds)
        if self._follow and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            state = self._files()
            if state != self._state:
                self._state = state
                self._alerts = self._store.alerts()
        return ()

    def positions(self) -> Mapping[int, int]:
        """Return nothing: a recording is read from its beginning."""
        return {}

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return nothing: how many alerts follow in the files is not known."""
        return {}

    def close(self) -> None:
        """Do nothing."""

    def _files(self) -> Mapping[str, int]:
        return {file.name: file.stat().st_size for file in (self._path / ALERTS).glob("*.avro")} if self._follow else {}
