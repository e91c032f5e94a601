from pathlib import Path

from lanner.known_state.files import SessionsFile
from processor.sessions.sessions import Sessions
from tests.unit.processor.sessions import shells


def test_the_file_is_written_if_something_has_changed(tmp_path: Path) -> None:
    """Only its owner may read it: it has the commands of people."""
    sessions = Sessions()
    file = SessionsFile(tmp_path / "memory", sessions)
    file.load()
    file.save()
    path = tmp_path / "memory.sessions"
    assert not path.exists()

    sessions.see_event(shells.requested(0))
    file.save()
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.stat().st_ino
    file.save()
    assert path.stat().st_ino == written
    sessions.see_batch(shells.started(1))
    file.save()
    assert path.stat().st_ino != written
    assert len(path.read_bytes().splitlines()) == 2


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    """The lines around it are used."""
    before, after = Sessions(), Sessions()
    before.see_event(shells.requested(0))
    file = SessionsFile(tmp_path / "memory", before)
    file.save()
    path = tmp_path / "memory.sessions"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    SessionsFile(tmp_path / "memory", after).load()
    after.see_batch(shells.started(1))

    assert (after.refused, len(after)) == (1, 1)
