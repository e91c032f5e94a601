import resource
import signal
import stat
from pathlib import Path

import pytest

from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert
from notifier.local.adapters import LocalSinkAdapter
from notifier.local.file import FileSink
from schemas.alert import Alert
from tests.unit.alerts import alert


def output_of(alert: Alert) -> str:
    """Give the line that these tests write."""
    return alert.output


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    """Mode 0600 in a folder that is made, and what was there stays."""
    path = tmp_path / "logs" / "alerts.log"
    for text in ("one", "two"):
        sink = FileSink(path, output_of, on_trouble=pytest.fail)
        sink.send(alert(output=text))
        sink.close()

    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_after_rotation_it_writes_to_the_new_file(tmp_path: Path) -> None:
    """Logrotate moves the file away and sends SIGUSR1."""
    path = tmp_path / "alerts.log"
    sink = FileSink(path, output_of, on_trouble=pytest.fail)
    sink.send(alert(output="old"))
    path.rename(tmp_path / "alerts.log.1")
    sink.send(alert(output="still old"))
    sink.reopen()
    sink.send(alert(output="new"))

    assert (tmp_path / "alerts.log.1").read_text() == "old\nstill old\n"
    assert path.read_text() == "new\n"
    assert (sink.tally.sent, sink.tally.failed) == (3, 0)


def test_a_path_that_cannot_be_opened_shows_at_the_start(tmp_path: Path) -> None:
    """Not with the first alert, at night."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileSink(tmp_path / "file" / "alerts.log", output_of, on_trouble=pytest.fail)


def test_a_device_that_is_full_counts_and_is_told_once() -> None:
    """/dev/full refuses every write: alerts are counted as failed, and nobody reads about it twice."""
    told: list[str] = []
    sink = FileSink(Path("/dev/full"), output_of, on_trouble=told.append)
    for _ in range(3):
        sink.send(alert())

    assert (sink.tally.sent, sink.tally.failed) == (0, 3)
    assert told == ["/dev/full: No space left on device; alerts for it are counted as lost until it works again."]


def test_at_its_size_a_new_file_is_begun_and_no_line_is_lost(tmp_path: Path) -> None:
    """As many older ones stay as asked, the newest first, all private; a line longer than a file has one of its own."""
    path = tmp_path / "alerts.log"
    sink = FileSink(path, output_of, on_trouble=pytest.fail, rotate_bytes=30, keep=3)
    for number in range(10):
        sink.send(alert(output=f"alert {number:04d}"))
    files = [path, *(tmp_path / f"alerts.log.{number}" for number in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == files
    kept = "".join(file.read_text() for file in reversed(files)).split("\n")
    assert kept == [*(f"alert {number:04d}" for number in range(2, 10)), ""]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    sink.send(alert(output="x" * 100))
    assert path.read_text() == "x" * 100 + "\n"


def test_two_writers_of_one_file_move_it_away_once(tmp_path: Path) -> None:
    """Whoever comes second finds the new one, and writes there."""
    path = tmp_path / "alerts.log"
    one, two = (FileSink(path, output_of, on_trouble=pytest.fail, rotate_bytes=40, keep=9) for _ in range(2))
    for number in range(0, 20, 2):
        one.send(alert(output=f"alert {number:04d}"))
        two.send(alert(output=f"alert {number + 1:04d}"))
    written = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted(written) == [f"alert {number:04d}" for number in range(20)]


def test_where_no_new_file_can_be_begun_the_old_one_grows_on(tmp_path: Path) -> None:
    """That is told once, and no alert is lost by it."""
    told: list[str] = []
    path = tmp_path / "alerts.log"
    (tmp_path / "alerts.log.1").mkdir()
    sink = FileSink(path, output_of, on_trouble=told.append, rotate_bytes=10, keep=1)
    for number in range(3):
        sink.send(alert(output=f"alert {number:04d}"))
    assert path.read_text().count("\n") == 3
    assert told == [f"{path}: no new file can be begun: Is a directory; the old one grows on."]


def test_a_disk_that_was_full_is_written_whole_lines_again(tmp_path: Path) -> None:
    """A line cut short by it is ended, then the alert is offered again; in a notifier nothing is lost."""
    path = tmp_path / "alerts.log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = FileSink(path, output_of, on_trouble=lambda _: None)
    receiver = LocalSinkAdapter(sink, lambda: sink.trouble)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
        assert receiver.offer([RoutedAlert(alert(output="one"))]) == Delivered()
        parcel = RoutedAlert(alert(), text="a text of more than twenty bytes")
        assert receiver.offer([parcel]) == RetryLater("the disk is full")
        assert receiver.offer([parcel]) == RetryLater("File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert receiver.offer([parcel]) == Delivered()
    assert path.read_text().splitlines() == ["one", "a text of more t", "a text of more than twenty bytes"]
