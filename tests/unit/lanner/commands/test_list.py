"""`lanner alerts list` on a single host."""

import json
import time
from pathlib import Path

from lanner.recorder.rolling import RollingRecording
from schemas.alert import Alert
from tests.unit.alerts import alert
from tests.unit.lanner.program import lanner

NOW = time.time_ns()
HOUR = 3_600_000_000_000


def recorded(folder: Path, *alerts: Alert) -> Path:
    """Return the folder of a recording that has these alerts."""
    recording = RollingRecording(folder / "kept", 8 << 20, on_error=print)
    for each in alerts:
        recording.store_alert(each)
    recording.close()
    return folder / "kept"


def test_alerts_of_this_host_are_listed_without_a_broker(tmp_path: Path) -> None:
    """Those of the time and priority, each once; standard error names the source."""
    old = alert(id="01a20e63-3df8-8a19-82ef-000000000001", time=NOW - 48 * HOUR)
    low = alert(id="01a20e63-3df8-8a19-82ef-000000000002", time=NOW - HOUR, priority="Debug")
    new = alert(id="01a20e63-3df8-8a19-82ef-000000000003", time=NOW - HOUR)
    folder = recorded(tmp_path, old, low, new, new)
    done = lanner("alerts", "list", "-o", f"keep.folder={folder}", "--priority", "warning", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [new.id]
    assert done.stderr == f"reading this host's own recording in {folder}; --topic reads a fleet's.\n"


def test_what_a_process_writes_cannot_break_the_list(tmp_path: Path) -> None:
    """Escapes and line breaks in an alert are shown, not obeyed."""
    folder = recorded(tmp_path, alert(time=NOW, output="read \x1b[2J\nfile=/x\u202e", output_fields={}))
    done = lanner("alerts", "list", "--file", folder)
    assert done.returncode == 0
    assert "read \\x1b[2J\\nfile=/x\\u202e" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_an_alert_that_a_kill_truncated_is_skipped(tmp_path: Path) -> None:
    """The alerts before it, and those of later files, are listed."""
    identity = "01a20e63-3df8-8a19-82ef-00000000000{}"
    folder = recorded(tmp_path, alert(id=identity.format(1), time=NOW), alert(id=identity.format(2), time=NOW))
    (torn,) = (folder / "alerts").iterdir()
    torn.write_bytes(torn.read_bytes()[:-20])
    recorded(tmp_path, alert(id=identity.format(3), time=NOW))
    done = lanner("alerts", "list", "--file", folder, "--format", "json")
    assert [json.loads(line)["id"][-1] for line in done.stdout.splitlines()] == ["1", "3"]
    assert "continuing with the next file" in done.stderr


def test_without_broker_and_recording_the_error_states_both(tmp_path: Path) -> None:
    """It names the folder, who writes to it, and the options that choose another source."""
    done = lanner("alerts", "list", "-o", f"keep.folder={tmp_path}/none")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: no broker is configured, and this host has no recording in {tmp_path}/none, where `lanner run` "
        "stores it. --topic reads from the broker at 127.0.0.1:9092, --file from another recording.\n"
    )
    assert lanner("alerts", "list", "--topic", "--file", tmp_path).returncode == 2
