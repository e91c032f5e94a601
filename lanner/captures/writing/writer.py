"""Writes the events of a recording as a capture.

The lists at the beginning of a capture need what all events show, so the recording is read twice.
"""

import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

from collector.events.texts import absolute
from foundation.files import open_private
from foundation.text import count_of
from lanner.captures.writing import encoding
from lanner.captures.writing.contents import CURRENT, CaptureContents
from lanner.captures.writing.encoding import RecordedEvent, encode
from schemas.batch import EventBatch
from schemas.encoding.recording import RecordingWriter, read_recording

_DIRECTORY_CHANGES = frozenset({"chdir", "getcwd"})
_MOST_NAMED = 5
_LEVEL = 6
_LATE = 3_000_000_000
"""Nanoseconds after which no earlier event follows: one waits a second for its container, and one for its program."""
_MOST_WAITING = 100_000


@dataclass(slots=True)
class WrittenCapture:
    """The contents of a capture, and the parts that it lacks."""

    events: int = 0
    repeats: int = 0
    """Further equal events that the recording counts instead of storing them; they are not written."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Events without a version in the event table, by type."""
    types: set[str] = field(default_factory=set)

    def lines(self) -> list[str]:
        """Return sentences for people."""
        lines = [
            f"the capture holds {count_of(self.events, 'event')} of {count_of(len(self.types), 'type')}",
            "absent, because not collected: events of other types, processes and descriptors that no event shows",
        ]
        if self.repeats:
            lines.append(f"{count_of(self.repeats, 'repeat')} of equal events are not written")
        if self.unknown:
            names = ", ".join(name for name, _ in self.unknown.most_common(_MOST_NAMED))
            lines.append(f"no form in captures: {count_of(self.unknown.total(), 'event')} ({names})")
        return lines


def write_capture(
    file: Path, batches: Callable[[], Iterable[EventBatch]], is_selected: Callable[[int], bool] = lambda _: True
) -> WrittenCapture:
    """Write a new capture that only its owner may read, compressed if its name ends with ``.gz``. Raises OSError.

    batches: returns the batches of one host, from the first one each time; is_selected: returns whether an event of a
    time is written, ns since the epoch.
    """
    found, contents = WrittenCapture(), CaptureContents()
    for event in _events(batches(), is_selected, contents):
        version = CURRENT.get(event.text("type") or "")
        if version is not None:
            contents.add(event, version, encode(event, version, None))
    with (
        os.fdopen(open_private(file, os.O_WRONLY | os.O_TRUNC), "wb") as plain,
        closing(gzip.GzipFile("", "wb", _LEVEL, plain, 0) if file.suffix == ".gz" else plain) as output,
    ):
        for block in contents.lists():
            output.write(block)
        for block in _written(_events(batches(), is_selected), contents, found):
            output.write(block)
    return found


def _events(
    batches: Iterable[EventBatch], is_selected: Callable[[int], bool], contents: CaptureContents | None = None
) -> Iterator[RecordedEvent]:
    """Yield the selected events by time, as readers need them: those that waited for facts come late in a recording.

    contents: gathers the tables of the batches that have any.
    """
    waiting: list[tuple[int, int, RecordedEvent]] = []
    order, newest = count(), 0
    for batch in batches:
        chosen = [(time, index) for index, time in enumerate(batch.columns["time"]) if is_selected(time)]
        if chosen and contents is not None:
            contents.add_tables(batch)
        for time, index in chosen:
            heappush(waiting, (time, next(order), RecordedEvent(batch, index)))
            newest = max(newest, time)
        while waiting and (waiting[0][0] < newest - _LATE or len(waiting) > _MOST_WAITING):
            yield heappop(waiting)[2]
    while waiting:
        yield heappop(waiting)[2]


def _written(events: Iterable[RecordedEvent], contents: CaptureContents, found: WrittenCapture) -> Iterator[bytes]:
    directories: dict[int, str | None] = {}
    for event in events:
        name = event.text("type") or ""
        version = CURRENT.get(name)
        if version is None:
            found.unknown[name] += 1
            continue
        pid = event.process.pid
        cwd = directories.get(pid) or contents.cwd(pid)
        params = encode(event, version, cwd)
        if name in _DIRECTORY_CHANGES and event.number("res") >= 0:
            directories[pid] = absolute(cwd, event.arguments().get("path", (None, 0))[0])
        found.events += 1
        found.repeats += event.number("repeats")
        found.types.add(name)
        yield encoding.event(version, event.number("time"), contents.tid(event), event.number("cpu"), params)


_SUFFIX = ".avro.part"


class CaptureSpool:
    """The batches of a capture that is not complete yet. Raises OSError if a file can't be created.

    The capture is created at once, so that a missing folder or right shows before anything is recorded.
    """

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(file.name + _SUFFIX)
        """The recording, which can be replayed if the capture can't be written."""
        self.file = file
        os.close(open_private(file, os.O_WRONLY))
        self.writer = RecordingWriter(self.path, level=1)
        """Takes the batches."""

    def finish(self, host_id: str = "", is_selected: Callable[[int], bool] = lambda _: True) -> WrittenCapture:
        """Write the capture, and delete the recording. Raises OSError.

        host_id: the host whose events are written; empty for that of the first batch. is_selected: as for
        `write_capture`.
        """
        self.writer.close()
        first = next(read_recording(self.path), None)
        host = host_id or ("" if first is None else first.host_id)
        written = write_capture(
            self.file, lambda: (each for each in read_recording(self.path) if each.host_id == host), is_selected
        )
        self.path.unlink()
        return written
