from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.recorder.recording import RecordingStore
from lanner.recorder.search import EventSearch, FoundEvent, SearchLimits, compile_search
from lanner.recorder.store import LOCK, EventRange
from processor.output.redaction import Redaction
from tests.unit.recordings import shadow_read, write_recording

SECOND = 1_000_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a folder of three files with three events each, one second apart, from second 1 on."""
    for number in range(3):
        batches = []
        for at in range(3 * number + 1, 3 * number + 4):
            batch = replace(shadow_read(), sequence=at, created=at * SECOND)
            batch.columns["time"][0] = at * SECOND
            batches.append(batch)
        write_recording(tmp_path / f"{number:012}.avro", *batches)
    (tmp_path / LOCK).touch()
    return tmp_path


def search(
    path: Path,
    text: str = "proc.name = cat",
    *,
    since: int = 0,
    until: int = 100,
    limits: SearchLimits | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[EventSearch, list[int]]:
    """Search a recording; return the search and the seconds of what was found."""
    times = EventRange(since * 1000, until * 1000)
    made = EventSearch(
        compile_search(text, []), RecordingStore(path), times, stop, limits or SearchLimits(), Redaction(())
    )
    found: list[FoundEvent] = []
    for part in made.run():
        found += part
    return made, [each.time // SECOND for each in found]


def test_the_newest_events_come_first(recording: Path) -> None:
    """From all files, with the fields that rows of events have."""
    made, seconds = search(recording)
    assert seconds == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert (made.end, made.count, made.found, made.events.share) == ("complete", 9, 9, 1.0)


def test_an_event_has_its_fields(recording: Path) -> None:
    """By the names that conditions use."""
    store = RecordingStore(recording)
    made = EventSearch(compile_search("fd.name = /etc/shadow", []), store, EventRange(0, 100_000), lambda: False)
    first: Sequence[FoundEvent] = next(part for part in made.run() if part)
    assert first[0].fields["fd.name"] == "/etc/shadow"
    assert first[0].fields["evt.hostname"] == "web-3"
    assert first[0].fields["proc.pid"] == 4711


def test_only_the_time_range_is_searched(recording: Path) -> None:
    """The end is not included, and files outside of it are not read."""
    made, seconds = search(recording, since=5, until=8)
    assert seconds == [7, 6, 5]
    assert made.count == 3
    assert made.searched_to == 5000


def test_nothing_matches(recording: Path) -> None:
    """Everything was searched."""
    made, seconds = search(recording, "proc.name = curl")
    assert seconds == []
    assert (made.end, made.count) == ("complete", 9)


def test_the_number_of_results_is_limited_to_the_newest(recording: Path) -> None:
    """It states how far back everything was found: the file with the last one was not shown completely."""
    made, seconds = search(recording, limits=SearchLimits(results=4))
    assert seconds == [9, 8, 7, 6]
    assert (made.end, made.found, made.searched_to) == ("results", 4, 7000)


def test_bytes_are_limited(recording: Path) -> None:
    """What was found before is shown."""
    made, seconds = search(recording, limits=SearchLimits(bytes=1))
    assert seconds == [9, 8, 7]
    assert made.end == "bytes"


def test_time_is_limited(recording: Path) -> None:
    """The search ends at once."""
    made, _ = search(recording, limits=SearchLimits(seconds=0))
    assert made.end == "time"


def test_a_stopped_search_ends(recording: Path) -> None:
    """Between two batches, with what it found."""
    calls = iter(range(100))
    made, seconds = search(recording, stop=lambda: next(calls) > 3)
    assert made.end == "stopped"
    assert len(seconds) < 9
    assert made.searched_to in (0, 7000)


def test_a_file_that_is_being_written_is_searched(recording: Path) -> None:
    """Its complete batches are; an empty file is nothing."""
    newest = recording / f"{2:012}.avro"
    newest.write_bytes(newest.read_bytes()[:-20])
    (recording / f"{3:012}.avro").write_bytes(b"")
    made, seconds = search(recording, since=2)
    assert seconds == [8, 7, 6, 5, 4, 3, 2]
    assert made.end == "complete"


def test_a_range_before_the_recording_is_reported(recording: Path) -> None:
    """It is not taken for a time in which nothing happened."""
    store = RecordingStore(recording / f"{1:012}.avro")
    made = EventSearch(compile_search("proc.name = cat", []), store, EventRange(1000, 100_000), lambda: False)
    assert sum(len(part) for part in made.run()) == 3
    assert made.events.remarks == ["The recording begins at 1970-01-01 00:00:04."]
