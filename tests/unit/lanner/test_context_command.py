import json
from dataclasses import replace
from pathlib import Path

from foundation.quantities import clock
from lanner.recorder.rolling import RollingRecording
from schemas.alert import alert_id
from tests.unit.alerts import TIME, alert
from tests.unit.lanner.program import lanner
from tests.unit.recordings import shadow_read, write_recording

RULE = """
- rule: Shadow
  desc: x
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read %fd.name
  priority: NOTICE
"""
IDENTITY = alert_id(TIME, "Shadow", "1", "1", 1, 2, 0)


def stored(folder: Path) -> tuple[Path, Path]:
    """Return a folder with two recordings of three reads, and a rule file."""
    inside = folder / "kept"
    inside.mkdir()
    later = shadow_read()
    later.sequence, later.watched, later.narrowed = 2, ["openat"], ["execve"]
    write_recording(inside / "000000000001.avro", replace(shadow_read(), hostname="db-1"))
    write_recording(inside / "000000000002.avro", later, replace(later, sequence=3, stopping=True))
    rules = folder / "rules.yaml"
    rules.write_text(RULE)
    return inside, rules


def test_context_from_a_folder_marks_the_event_and_states_what_was_not_collected(tmp_path: Path) -> None:
    """The alert's id and the names of the rules suffice."""
    folder, rules = stored(tmp_path)
    done = lanner("context", IDENTITY, "--file", folder, "-r", rules, "--host", "web-3", "--flat")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    marked = [line for line in lines if line.startswith("> ")]
    assert len(marked) == 1
    assert "/etc/shadow" in marked[0]
    assert "# web-3: 2 events in 2 batches of this time." in lines
    assert "#   Collected in full: openat. No other event types were collected." in lines
    assert "#   Collected only if a rule at that time could match: execve." in lines


def test_context_as_json_is_rows_and_a_summary(tmp_path: Path) -> None:
    """One object per line; the alert's event is marked."""
    folder, rules = stored(tmp_path)
    done = lanner("context", IDENTITY, "--file", folder, "-r", rules, "--format", "json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("alert", False) for row in rows[:-1]] == [False, True, False]
    assert rows[-1]["context"]["is_found"]
    assert set(rows[-1]["context"]["hosts"]) == {"db-1"}


def test_context_of_a_stored_alert_needs_no_rules_and_no_broker(tmp_path: Path) -> None:
    """The recording of this host is read by default, and its alert names the event."""
    recording = RollingRecording(tmp_path / "kept", 8 << 20, on_error=print)
    recording.store(shadow_read())
    recording.store_alert(alert(id=IDENTITY, rule="Renamed since", event={"evt.num": 1}))
    recording.close()
    done = lanner("context", IDENTITY, "-o", f"keep.folder={tmp_path}/kept")
    assert done.returncode == 0, done.stderr
    assert "Warning Renamed since on web-3" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[3:8] == [
        "bash(4000) root",
        "└─ cat(4711) root: cat /etc/shadow",
        f"      > {clock(TIME)[:-6]} open /etc/shadow",
        "        ! Warning Renamed since (this alert)",
        "",
    ]
    assert "# web-3: 1 events in 1 batches of this time." in lines
    assert done.stderr == f"reading this host's own recording in {tmp_path}/kept; --topic reads a fleet's.\n"


def test_other_alerts_of_the_time_are_listed(tmp_path: Path) -> None:
    """Those whose events are not in the tree, with their processes; what they contain is escaped."""
    recording = RollingRecording(tmp_path / "kept", 8 << 20, on_error=print)
    recording.store(shadow_read())
    recording.store_alert(alert(id=IDENTITY, event={"evt.num": 1}))
    other = {"evt.num": 77, "proc.name": "nc\x1b[2J\n", "proc.pid": 5}
    recording.store_alert(alert(id=IDENTITY.replace("-8", "-9"), rule="Elsewhere", event=other))
    recording.close()
    done = lanner("context", IDENTITY, "--file", tmp_path / "kept", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    lines = done.stdout.splitlines()
    at = lines.index("Other alerts of this time:")
    assert lines[at + 1].startswith(f"  {clock(TIME)[:-6]} Warning Elsewhere by nc\\x1b[2J\\n(5) (")
    assert lines[at + 2] == ""


def test_an_alert_that_a_recording_does_not_cover_is_reported(tmp_path: Path) -> None:
    """Missing data is reported instead of an empty timeline."""
    folder, rules = stored(tmp_path)
    early = alert_id(TIME - 3_600_000_000_000, "Shadow", "1")
    done = lanner("context", early, "--file", folder, "-r", rules)
    assert done.returncode == 0
    assert "after the alert" in done.stdout
    assert "No batch of this time is stored" in done.stdout


def test_what_is_no_id_is_an_error() -> None:
    """UUIDs of other versions are invalid as well."""
    for text in ("x", "00000000-0000-4000-8000-000000000000"):
        done = lanner("context", text)
        assert done.returncode == 1
        assert "not a valid alert id" in done.stderr


def test_replay_takes_a_folder_and_a_host(tmp_path: Path) -> None:
    """A folder of `lanner run` is read; a file truncated by a kill is not fatal."""
    folder, rules = stored(tmp_path)
    first = folder / "000000000001.avro"
    first.write_bytes(first.read_bytes()[:-20])
    done = lanner("replay", folder, "-r", rules, "--host", "web-*")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("read /etc/shadow") == 2
    assert "continuing with the next file" in done.stderr


def test_replay_states_what_its_rules_cannot_have_seen(tmp_path: Path) -> None:
    """Events that were not collected can't raise alerts, and the output states it."""
    folder, rules = stored(tmp_path)
    rules.write_text(RULE.replace("evt.type = openat and", "evt.type in (openat, execve, ptrace) and"))
    done = lanner("replay", folder, "-r", rules, "--host", "web-3")
    assert (
        "not seen by these rules: not collected, because no rule at that time needed it: ptrace (web-3)" in done.stderr
    )
    assert "rules need: execve (web-3)" in done.stderr


def test_replay_wants_files_or_the_topic(tmp_path: Path) -> None:
    """Files and --topic exclude each other, and times need --topic."""
    folder, _ = stored(tmp_path)
    for words in ((), (folder, "--topic"), (folder, "--since", "1h")):
        assert lanner("replay", *words).returncode == 2
    (tmp_path / "empty").mkdir()
    done = lanner("replay", tmp_path / "empty")
    assert done.returncode == 1
    assert "no recordings in this folder" in done.stderr


def test_context_also_writes_a_capture(tmp_path: Path) -> None:
    """It holds the events of the host around the alert, and raises the alert again."""
    folder, rules = stored(tmp_path)
    capture = tmp_path / "out.scap.gz"
    done = lanner("context", IDENTITY, "--file", folder, "-r", rules, "--host", "web-3", "--scap", capture)

    assert done.returncode == 0, done.stderr
    assert f"{capture}: the capture holds 2 events of 1 type.\n" in done.stderr
    assert "absent, because not collected: events of other types" in done.stderr
    replayed = lanner("replay", capture, "-r", rules, "--format", "json")
    assert [json.loads(line)["hostname"] for line in replayed.stdout.splitlines()] == ["web-3", "web-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "out.scap.gz", "rules.yaml"]


def test_context_reports_a_capture_that_can_not_be_written(tmp_path: Path) -> None:
    """The error names the file."""
    folder, rules = stored(tmp_path)
    missing = tmp_path / "missing" / "out.scap"
    done = lanner("context", IDENTITY, "--file", folder, "-r", rules, "--host", "web-3", "--scap", missing)
    assert done.returncode == 1
    assert f"{missing}: No such file or directory." in done.stderr
