import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.text import Level, ignore_note
from lanner.console.feed import ViewFeed
from lanner.console.feed_files import MAX_WAITING, LocalAlerts, MarkFile, RecordedAlerts
from lanner.console.store.filters import Filters
from lanner.console.store.reading import AlertReader
from lanner.console.store.rows import Mark
from lanner.console.store.view import AlertView
from lanner.errors import BadInput
from lanner.recorder.rolling import ALERTS, RollingRecording
from schemas.alert import Alert
from tests.unit.lanner.console.alerts import NOW, found, soon
from tests.unit.recordings import shadow_read, write_recording

ALL = Filters(state="all", since="all")


class FailingOnce(LocalAlerts):
    """A source that fails once, as a broker that restarts."""

    is_failing = True

    def read(self, seconds: float) -> Sequence[Alert]:
        """Fail, or return the alerts."""
        if self.is_failing:
            self.is_failing = False
            raise OSError("no broker")
        return super().read(seconds)


class PositionedAlerts(LocalAlerts):
    """A source with positions."""

    def positions(self) -> Mapping[int, int]:
        """Return a position."""
        return {3: 17}


def feed_of(folder: Path, source: LocalAlerts, notes: list[str]) -> ViewFeed:
    """Start a feed into a view."""

    def note(text: str, level: Level = "info", /) -> None:
        del level
        notes.append(text)

    view = AlertView(folder / "alerts.db")
    feed = ViewFeed(view, source, MarkFile(folder / "marks"), note=note, clock=lambda: NOW)
    feed.start()
    return feed


def test_alerts_and_decisions_reach_the_view(tmp_path: Path) -> None:
    """Whoever decides waits until the view shows it, and listeners are notified."""
    changes: list[int] = []
    source = PositionedAlerts([found(1)])
    feed = feed_of(tmp_path, source, [])
    feed.on_change = changes.append
    source.put(found(2))
    for _ in soon():
        if feed.taken == 2:
            break
    reader = AlertReader(tmp_path / "alerts.db")
    key = reader.groups(ALL, NOW).groups[0].key
    feed.put(Mark(f"group:{key}", "assignee", "alice", "bob", NOW))
    assert reader.groups(ALL, NOW).groups[0].assignee == "alice"
    feed.stop()
    assert sum(changes) in (1, 2)
    assert changes[-1] == 0
    again = AlertView(tmp_path / "alerts.db")
    assert (again.count, again.positions()) == (2, {3: 17})


def test_decisions_are_deleted_after_a_year(tmp_path: Path) -> None:
    """Otherwise their topic or file would grow permanently."""
    path = tmp_path / "marks"
    marks = MarkFile(path)
    old = Mark("group:a", "assignee", "alice", "bob", NOW - 401 * 86_400 * 10**9)
    new = Mark("group:b", "assignee", "alice", "bob", NOW)
    for mark in (old, new):
        marks.put(mark)
    marks.close()
    feed = feed_of(tmp_path, LocalAlerts(), [])
    feed.put(replace(new, value="carol"))
    feed.stop()
    assert MarkFile(path).read_all() == [replace(new, value="carol")]


def test_a_source_that_fails_is_reported_once_and_read_again(tmp_path: Path) -> None:
    """Nothing is lost."""
    notes: list[str] = []
    feed = feed_of(tmp_path, FailingOnce([found(1)]), notes)
    for _ in soon():
        if feed.taken:
            break
    feed.stop()
    assert notes == ["console: alerts can't be taken: no broker.", "console: alerts are taken again."]


def test_a_queue_that_nobody_empties_drops_the_oldest_and_counts_them() -> None:
    """Detection never waits for the console."""
    queue = LocalAlerts()
    small = found(1, output="x", event={}, output_fields={}, description="")
    threads = [threading.Thread(target=lambda: [queue.put(small) for _ in range(MAX_WAITING // 2)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.dropped == MAX_WAITING // 2
    assert len(queue.read(0)) == 500


def test_earlier_alerts_are_all_read_before_new_ones() -> None:
    """Batch by batch, none is left out."""
    earlier = [found(number) for number in range(1200)]
    queue = LocalAlerts(earlier)
    queue.put(found(2000))
    batches = [queue.read(0) for _ in range(5)]
    assert [len(batch) for batch in batches] == [500, 500, 200, 1, 0]
    assert [alert for batch in batches for alert in batch] == [*earlier, found(2000)]


@pytest.mark.parametrize("rest", ["", '{"subject": "group:a", "fie', "nonsense\n"])
def test_marks_are_there_after_a_crash(rest: str, tmp_path: Path) -> None:
    """A line that was not written completely is skipped; the newest of each field counts."""
    path = tmp_path / "marks"
    marks = MarkFile(path)
    for value in ("1", "2"):
        marks.put(Mark("group:a", "acknowledged", value, "alice", 5))
    marks.put(Mark("group:a", "assignee", "bob", "alice", 5))
    marks.put(Mark("group:a", "assignee", "", "alice", 6))
    with path.open("a") as file:
        file.write(rest)
    again = MarkFile(path)
    assert again.read_all() == [Mark("group:a", "acknowledged", "2", "alice", 5)]
    again.put(Mark("group:b", "assignee", "bob", "alice", 7))
    assert len(MarkFile(path).read_all() or ()) == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_without_alerts_is_refused_and_a_damaged_one_shown_up_to_the_damage(tmp_path: Path) -> None:
    """At once with its name; the thread that takes alerts ends for neither."""
    events = write_recording(tmp_path / "events.avro", shadow_read())
    with pytest.raises(BadInput, match="does not hold alerts"):
        RecordedAlerts(events, ignore_note, follow=False)
    recording = RollingRecording(tmp_path, 1 << 20, on_error=print)
    for number in range(3):
        recording.store_alert(found(number))
    recording.close()
    (file,) = (tmp_path / ALERTS).iterdir()
    data = bytearray(file.read_bytes())
    data[-40:-20] = bytes(20)
    (tmp_path / "damaged.avro").write_bytes(data)
    notes: list[str] = []
    source = RecordedAlerts(tmp_path / "damaged.avro", lambda text, _="info": notes.append(text), follow=False)
    assert source.read(0) == [found(0), found(1)]
    assert source.read(0) == ()
    assert len(notes) == 1
    assert "damaged.avro" in notes[0]
