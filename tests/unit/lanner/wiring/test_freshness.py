import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from lanner.errors import BadInput
from lanner.operations.freshness import Finding, Freshness
from lanner.settings import Settings, load_settings
from lanner.wiring.freshness import REPORT, remove_report, reported_freshness, write_report

IN_TIME = Finding("evaluation", "this host", "in time", is_problem=False)
SINK = Finding("sink", "stdout", "nothing waits", is_problem=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose report is in a folder of the test."""
    return load_settings(None, {}, [f"notifier.state_dir={tmp_path}"])


def current() -> Freshness:
    """Return that of a host without problems."""
    now = time.time()
    return Freshness(now, now, is_late=False, findings=[IN_TIME, SINK])


def test_what_run_reports_is_what_status_reads(settings: Settings) -> None:
    """While it runs."""
    made = current()
    write_report(settings, made)
    assert reported_freshness(settings) == made


def test_a_run_that_is_not_there_is_a_problem(settings: Settings) -> None:
    """It was stopped, or never started."""
    write_report(settings, current())
    remove_report(settings)
    (found,) = reported_freshness(settings).problems
    assert found.text.startswith("it doesn't run, or with another notifier.state_dir than ")


def test_a_run_that_hangs_or_was_killed_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    """Its report is old, or of a process that is gone; what it reported of sinks stays."""
    write_report(settings, replace(current(), read_at=time.time() - 60))
    found = reported_freshness(settings)
    assert found.findings == [
        Finding("evaluation", "lanner run", "it hangs: its last report is 1m old", is_problem=True),
        SINK,
    ]
    write_report(settings, current())
    file = tmp_path / REPORT
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": gone.pid}))
    found = reported_freshness(settings)
    assert found.is_late
    assert found.problems[0].text.startswith("it was killed: its last report is ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1, "findings": 5}', "{" * 10_000])
def test_a_report_that_is_none_is_refused(settings: Settings, tmp_path: Path, text: str) -> None:
    """Without a traceback."""
    (tmp_path / REPORT).write_text(text)
    with pytest.raises(BadInput, match=r"run\.json: not what `lanner run` writes"):
        reported_freshness(settings)


def test_status_is_one_screen_and_an_exit_code(settings: Settings, tmp_path: Path) -> None:
    """0 if detection is current, 1 if not; problems alone with -q."""
    write_report(settings, current())
    flags = ("-o", f"notifier.state_dir={tmp_path}")
    fine = CliRunner().invoke(lanner_command, ["status", *flags], standalone_mode=False)
    assert fine.return_value == 0
    assert fine.stdout.startswith("Events of this host are evaluated up to ")
    assert "UTC: current.\n" in fine.stdout
    write_report(settings, replace(current(), findings=[IN_TIME, replace(SINK, text="\x1b[2J", is_problem=True)]))
    bad = CliRunner().invoke(lanner_command, ["status", "-q", *flags], standalone_mode=False)
    assert bad.return_value == 1
    assert [line.split()[:3] for line in bad.stdout.splitlines()] == [
        ["SUBJECT", "NAME", "STATE"],
        ["sink", "stdout", "PROBLEM"],
    ]
    assert "\x1b" not in bad.stdout
