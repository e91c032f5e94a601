import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from tests.live.lanner.watching import Watching

RULES = """
- rule: Marked program
  desc: An action of the test.
  condition: evt.type = execve and proc.name = lanner-mark
  output: started %proc.name
  priority: NOTICE
- action: End it
  type: kill
  target: process
  state: ask
  rules: [Marked program]
"""


@pytest.fixture
def flags(tmp_path: Path) -> Iterator[list[str]]:
    """Return settings of `lanner run` and the executor, while both run."""
    (tmp_path / "rules.yaml").write_text(RULES)
    shutil.copy("/usr/bin/sleep", tmp_path / "lanner-mark")
    section = f"enabled=[kill] socket={tmp_path}/s state_dir={tmp_path}/state".split()
    settings = [*(f"collector.actions.{each}" for each in section), f"actions.state_dir={tmp_path}/records"]
    words = [word for each in settings for word in ("-o", each)]
    rules = ("--keep", "0", "-r", tmp_path / "rules.yaml", "--format", "json")
    with Watching("actions", "serve", *words), Watching("run", *words, *rules) as running:
        yield words
        lines = [json.loads(line) for line in running.out.lines]
    assert {line["rule"] for line in lines} == {"Marked program", "Lanner internal: action"}


def lanner(*words: str) -> str:
    """Run a command in this process; return its output."""
    done = CliRunner().invoke(lanner_command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def pending(flags: list[str]) -> str:
    """Return the id of the action that waits for approval, once there is one."""
    for _ in range(200):
        if line := lanner("actions", "pending", "--format", "json", *flags):
            return str(json.loads(line)["id"])
        time.sleep(0.1)
    raise AssertionError


def test_a_process_is_killed_once_somebody_approves_it(flags: list[str], tmp_path: Path) -> None:
    """On one host, without a broker; after all actions were stopped, an approval changes nothing."""
    with subprocess.Popen([tmp_path / "lanner-mark", "20"]) as process:
        id_ = pending(flags)
        assert process.poll() is None
        assert "killed 1 process" in lanner("actions", "approve", id_, *flags)
        assert process.wait(10) == -signal.SIGKILL

    lanner("actions", "stop", "--yes", *flags)
    with subprocess.Popen([tmp_path / "lanner-mark", "20"]) as process:
        id_ = pending(flags)
        assert "stopped all actions" in lanner("actions", "approve", id_, *flags)
        assert process.poll() is None
        process.kill()
