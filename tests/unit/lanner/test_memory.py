"""What one process remembers over a restart, and what replay tells of it."""

from pathlib import Path

from lanner.detection import load_detection
from lanner.memory import Memory
from lanner.settings import Settings
from schemas.codec import encode_batch
from schemas.recording import RecordingWriter
from tests.unit.lanner.program import lanner
from tests.unit.processor.correlation.rules import SECOND, SSH, START, Host, judges_of, rule

MANY = [SSH, rule("many_ssh_connections", "%correlation.count from %correlation.group")]


def test_windows_outlive_a_restart(tmp_path: Path) -> None:
    """Two connections before it and one after it are three; the file is its owner's alone."""
    host, path, notes = Host(), tmp_path / "state" / "memory", list[str]()
    first = Memory(judges_of(*MANY), path, note=notes.append)
    first.process(host.accept(0))
    first.process(host.accept(1))
    first.save()

    second = Memory(judges_of(*MANY), path, note=notes.append)

    assert [alert.output for alert in second.process(host.accept(2))] == ["3 from 10.0.0.1"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert notes == []


def test_the_file_is_written_every_five_seconds(tmp_path: Path) -> None:
    """A kill costs what came since."""
    host, path = Host(), tmp_path / "memory"
    memory = Memory(judges_of(*MANY), path, note=lambda _: None)
    memory.process(host.accept(0))
    memory.tick(START, 100.0)
    written = path.read_bytes()

    memory.process(host.accept(1))
    memory.tick(START + 4 * SECOND, 104.9)
    assert path.read_bytes() == written
    memory.tick(START + 5 * SECOND, 105.0)
    assert path.read_bytes() != written


def test_a_damaged_file_is_told_and_replaced(tmp_path: Path) -> None:
    """Detection goes on without what it held."""
    path, notes = tmp_path / "memory", list[str]()
    path.write_bytes(b"rubbish")

    memory = Memory(judges_of(*MANY), path, note=notes.append)
    memory.save()

    assert [note.removeprefix(str(path)) for note in notes] == [
        ": too short for a memory of rules; rules with memory begin anew."
    ]
    assert Memory(judges_of(*MANY), path, note=notes.append).take_evicted() == 0
    assert len(notes) == 1


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """Each five seconds would be too often."""
    (tmp_path / "file").touch()
    notes = list[str]()
    memory = Memory(judges_of(*MANY), tmp_path / "file" / "memory", note=notes.append)

    memory.save()
    memory.save()

    assert len([note for note in notes if "can't be written" in note]) == 1


def test_rules_without_memory_leave_no_file(tmp_path: Path) -> None:
    """There is nothing to keep."""
    memory = Memory(judges_of(rule("evt.type = connect")), tmp_path / "memory", note=lambda _: None)

    memory.save()

    assert list(tmp_path.iterdir()) == []


def test_replay_gives_the_alerts_and_the_open_summaries(tmp_path: Path) -> None:
    """A recording's events are the clock, and its end ends all periods."""
    host, rules, recording = Host(), tmp_path / "rules.yaml", tmp_path / "events.avro"
    rules.write_text("".join(MANY), encoding="utf-8")
    writer = RecordingWriter(recording)
    for second in range(5):
        writer.write(encode_batch(host.accept(second)))
    writer.close()

    ran = lanner("replay", recording, "--rules", rules, "-q")

    assert (ran.returncode, ran.stderr) == (0, "")
    told = [line.split(" Notice ", 1)[1] for line in ran.stdout.splitlines()]
    assert [line.split(" container_id", 1)[0] for line in told] == [
        "3 from 10.0.0.1",
        "REPEATED 2 more times in 1m: 3 from 10.0.0.1",
    ]


def test_a_variable_that_a_group_names_leaves_the_host(tmp_path: Path) -> None:
    """No condition or output names it, and still it is needed; no other does."""
    rules = tmp_path / "rules.yaml"
    text = SSH.replace("group-by: [fd.cip]", "group-by: ['proc.env[SSH_CLIENT]']")
    rules.write_text(text + rule("many_ssh_connections"), encoding="utf-8")
    settings = Settings(rules_files=(str(rules),))

    assert load_detection(settings).variables == {"SSH_CLIENT"}
    assert load_detection(settings).interest.variables == {"SSH_CLIENT"}
    rules.write_text(SSH + rule("many_ssh_connections"), encoding="utf-8")
    assert not load_detection(settings).variables
