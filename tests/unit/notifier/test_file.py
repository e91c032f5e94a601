import stat
from pathlib import Path

import pytest

from notifier.file import FileSink
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
