"""The events of a recording as a source: a time range of one host, or of all."""

from collections.abc import Callable, Generator
from pathlib import Path

from lanner.recorder.around.source import EventSpan
from lanner.recorder.batches import StoredBatch, from_files
from schemas.text.times import date_and_time_seconds


class RecordingHistory:
    """The events of a recording, which may still be written."""

    def __init__(self, path: Path) -> None:
        """Prepare reading. path: the folder of a recording, or one file of events."""
        self._path = path

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield the batches of a time range; EventHistory describes the arguments."""
        first = last = 0
        try:
            for stored in from_files((self._path,), span.since * 1_000_000):
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
