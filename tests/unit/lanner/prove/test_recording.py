import time
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.prove.atomics import AtomicTest
from lanner.prove.grades import GuestRun, Seen, graded
from lanner.prove.recording import EVENTS, TESTS, RecordedRun, RunRecorder
from lanner.ruleset.compile import compile_rules
from lanner.settings import Settings
from lanner.settings.sections.sinks import AppendOutput, ExtraField
from lanner.wiring.rules import find_rules
from tests.unit.processor.batches import INIT, batch_of

RULE = """
- rule: Read the hashes
  desc: x
  condition: evt.type = openat and fd.name = /etc/shadow
  output: x
  priority: WARNING
  tags: [T1003.008]
"""
TEST = AtomicTest("1", "T1003.008", 1, "Read", "sh", "cat /etc/shadow", False, (), {})
TICK = 10_000_000


def run_of(ticks: int, since: int) -> GuestRun:
    """Return the run of a test in a guest that started then."""
    return GuestRun(ticks, since, frozenset({7}), booted=False)


def test_other_rules_are_evaluated_on_what_each_guest_did(tmp_path: Path) -> None:
    """Neither another process's event nor what the guest did before the test, or who entered it, is the test's."""
    boot = time.time_ns()
    recorder = RunRecorder(tmp_path / "run")
    ticks = 1_000_000
    start = boot + ticks * TICK
    since = start + 50 * TICK
    guest = [replace(INIT, pid=pid, pidns_init_start_time=start + 1) for pid in (7, 8)]
    read = {"type": "openat", "fd_type": "file", "fd_name": "/etc/shadow"}
    recorder.take(
        batch_of(
            {**read, "process": 1, "time": since - 1},
            {**read, "process": 0, "time": since + 1},
            {**read, "process": 1, "time": since + 2},
            {**read, "process": 2, "time": since + 3},
            {"type": "mkdir", "process": 1, "time": since + 4},
            processes=[guest[0], guest[1], replace(INIT, pidns_init_start_time=1)],
        )
    )
    silent = replace(TEST, guid="2")
    left_out = replace(TEST, guid="3")
    ran = graded(TEST, "exit code 1", Seen(run_of(ticks, since)), 0)
    recorder.finish(boot, [ran, graded(silent, "it has to wait", Seen(), 0)], [])
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULE)
    field = AppendOutput(extra_fields=(ExtraField("proc.pidns_init_start_ts"),))
    detection = compile_rules(find_rules(Settings(rules_files=(str(rules),), append_output=(field,))))

    found = RecordedRun(tmp_path / "run").evaluated(
        [TEST, silent, left_out], detection.ruleset, detection.pushdown_filter
    )

    first, second = found.results
    assert (first.status, first.reason, [alert.time - since for alert in first.alerts]) == (
        "technique",
        "exit code 1",
        [2],
    )
    assert (second.status, second.reason) == ("not run", "it has to wait")
    assert found.events == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "it is empty"), ("[1]", "is a mapping"), ('{"tests": [{"run": {"ticks": "x"}}]}', "takes a"), ("{", "")],
)
def test_a_folder_that_holds_no_run_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / TESTS).write_text(text)
    with pytest.raises(BadInput, match=f"{TESTS}.*{problem}"):
        RecordedRun(tmp_path)


def test_a_damaged_recording_is_an_error(tmp_path: Path) -> None:
    """And so is one that can't be written."""
    RunRecorder(tmp_path).finish(0, [], [])
    (tmp_path / EVENTS).write_bytes(b"nothing")
    rules = compile_rules(find_rules(Settings()))
    with pytest.raises(BadInput, match=EVENTS):
        RecordedRun(tmp_path).evaluated([], rules.ruleset, rules.pushdown_filter)
    with pytest.raises(BadInput, match="Not a directory"):
        RunRecorder(tmp_path / EVENTS / "below")
