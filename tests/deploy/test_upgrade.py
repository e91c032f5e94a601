"""The order of an upgrade: processors first, with collectors one release behind."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from bus.connection import Connection
from tests.cluster.actions import RULE, Alerts
from tests.cluster.processes import Processes
from tests.deploy.waiting import wait
from tests.live.needs import lacking

BEFORE = "15ad842"
"""The release before this one; a release moves it on."""
STAGES = ("schemas", "bus", "collector", "processor", "notifier", "lanner", "rules")
RULES = """
- rule: {rule}
  desc: An act of this test.
  condition: evt.type = openat and fd.name contains {marker}
  output: act %fd.name by %proc.cmdline with parent %proc.pname on %evt.hostname
  priority: NOTICE
"""


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Return the previous release's sources, from the history."""
    if os.geteuid() != 0:
        lacking("a collector needs root")
    folder = tmp_path / "before"
    folder.mkdir()
    archive = subprocess.run(["git", "archive", BEFORE, *STAGES], capture_output=True, check=False)
    if archive.returncode:
        lacking(f"the history lacks {BEFORE}, the release before; clone it whole: git fetch --unshallow")
    subprocess.run(["tar", "-C", folder, "-x"], input=archive.stdout, check=True)
    return folder


def test_a_collector_of_the_release_before_feeds_processors_of_today(
    before: Path, connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Its real events become an alert with their fields, and it stops cleanly."""
    marker = uuid.uuid4().hex
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.format(rule=RULE, marker=marker))
    processor = processes.start(connection, "processor", rules=rules)
    processor.wait_for("evaluating rules:")
    said = tmp_path / "said"
    with said.open("wb") as errors:
        # The old sources under today's Python and libraries.
        collector = subprocess.Popen(
            [sys.executable, "-m", "lanner", "collector", "--rules", rules],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(before),
                "LANNER__KAFKA__BOOTSTRAP_SERVERS": connection.bootstrap_servers,
                "LANNER__KAFKA__PREFIX": connection.prefix,
                "LANNER__KAFKA__SPOOL_DIR": str(tmp_path / "spool"),
            },
            cwd=before,
            stderr=errors,
        )
    try:
        wait(lambda: "watching" in said.read_text() or collector.poll() is not None, 60)
        assert collector.poll() is None, said.read_text()
        act = tmp_path / marker
        act.write_text("")
        alerts = Alerts(connection)
        wait(lambda: alerts.read(0.5) or any(alert.rule == RULE for alert in alerts.raw), 40)
    finally:
        collector.kill()
        collector.wait()
    assert processor.stop() == 0, processor.errors
    alerts.read(1)
    alerts.close()
    found = [alert.output_fields for alert in alerts.raw if alert.rule == RULE]
    assert {fields["fd.name"] for fields in found} == {str(act)}
    assert None not in {found[0][name] for name in ("proc.cmdline", "proc.pname", "evt.hostname")}, found[0]
    assert "Traceback" not in said.read_text() + processor.errors
