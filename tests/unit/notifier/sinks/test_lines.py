import resource
import signal
import stat
from pathlib import Path

import pytest

from foundation.text import ignore_note
from notifier.sink import Delivered, RetryLater, RoutedAlert
from notifier.sinks.lines import FileSink
from schemas.alert import Alert
from tests.notes import into
from tests.unit.alerts import alert


def output_of(alert: Alert) -> str:
    """Return the line that these tests write."""
    return alert.output


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    """The file has mode 0600 in a new folder, which is reported once, and earlier lines stay."""
    path = tmp_path / "logs" / "alerts.log"
    reports: list[str] = []
    for text in ("one", "two"):
        sink = FileSink(path, output_of, report=lambda text, _="info": reports.append(text))
        sink.send([RoutedAlert(alert(output=text))])
        sink.close()

    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert reports == [f"{path}: its folder did not exist, and was made: is the name right?"]


def test_after_rotation_it_writes_to_the_new_file(tmp_path: Path) -> None:
    """Logrotate moves the file away and sends SIGUSR1."""
    path = tmp_path / "alerts.log"
    sink = FileSink(path, output_of, report=pytest.fail)
    sink.send([RoutedAlert(alert(output="old"))])
    path.rename(tmp_path / "alerts.log.1")
    sink.send([RoutedAlert(alert(output="still old"))])
    sink.reopen()
    sink.send([RoutedAlert(alert(output="new"))])

    assert (tmp_path / "alerts.log.1").read_text() == "old\nstill old\n"
    assert path.read_text() == "new\n"


def test_a_path_that_cannot_be_opened_shows_at_the_start(tmp_path: Path) -> None:
    """It must not fail only with the first alert."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileSink(tmp_path / "file" / "alerts.log", output_of, report=pytest.fail)


def test_a_full_device_is_a_reason_to_retry() -> None:
    """/dev/full rejects every write."""
    sink = FileSink(Path("/dev/full"), output_of, report=pytest.fail)
    outcomes = {sink.send([RoutedAlert(alert())]) for _ in range(3)}
    assert outcomes == {RetryLater("/dev/full: No space left on device")}


def test_the_file_is_rotated_at_its_size_and_no_line_is_lost(tmp_path: Path) -> None:
    """The configured number of older files stays, all private; a line longer than the limit gets its own file."""
    path = tmp_path / "alerts.log"
    sink = FileSink(path, output_of, report=pytest.fail, rotate_bytes=30, keep=3)
    for number in range(10):
        sink.send([RoutedAlert(alert(output=f"alert {number:04d}"))])
    files = [path, *(tmp_path / f"alerts.log.{number}" for number in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == files
    stored = "".join(file.read_text() for file in reversed(files)).split("\n")
    assert stored == [*(f"alert {number:04d}" for number in range(2, 10)), ""]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    sink.send([RoutedAlert(alert(output="x" * 100))])
    assert path.read_text() == "x" * 100 + "\n"


def test_two_writers_of_one_file_rotate_it_once(tmp_path: Path) -> None:
    """The second writer finds the new file, and writes there."""
    path = tmp_path / "alerts.log"
    one, two = (FileSink(path, output_of, report=pytest.fail, rotate_bytes=40, keep=9) for _ in range(2))
    for number in range(0, 20, 2):
        one.send([RoutedAlert(alert(output=f"alert {number:04d}"))])
        two.send([RoutedAlert(alert(output=f"alert {number + 1:04d}"))])
    written = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted(written) == [f"alert {number:04d}" for number in range(20)]


def test_the_old_file_keeps_growing_if_it_can_not_be_rotated(tmp_path: Path) -> None:
    """That is reported once, and no alert is lost."""
    reported: list[str] = []
    path = tmp_path / "alerts.log"
    (tmp_path / "alerts.log.1").mkdir()
    sink = FileSink(path, output_of, report=into(reported), rotate_bytes=10, keep=1)
    for number in range(3):
        sink.send([RoutedAlert(alert(output=f"alert {number:04d}"))])
    assert path.read_text().count("\n") == 3
    assert reported == [f"{path}: can't start a new file: Is a directory; the old one keeps growing."]


def test_a_disk_that_was_full_is_written_whole_lines_again(tmp_path: Path) -> None:
    """A line cut short is ended before the alert is written again, so a retry loses nothing."""
    path = tmp_path / "alerts.log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = FileSink(path, output_of, report=ignore_note)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
        assert sink.send([RoutedAlert(alert(output="one"))]) == Delivered()
        routed = RoutedAlert(alert(), text="a text of more than twenty bytes")
        assert sink.send([routed]) == RetryLater(f"{path}: the disk is full")
        assert sink.send([routed]) == RetryLater(f"{path}: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sink.send([routed]) == Delivered()
    assert path.read_text().splitlines() == ["one", "a text of more t", "a text of more than twenty bytes"]
