"""What the other tests run lanner with."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.lanner import program
from tests.unit.lanner.program import fresh, lanner

_COMMANDS = [
    ["config", "check", "-o", "priority=\udcff"],
    ["config", "show"],
    ["fields", "--format", "json"],
    ["nonsense"],
    ["replay", "none.avro"],
    ["rules", "list"],
    ["rules", "show", "Destroy data"],
]


@pytest.mark.parametrize("arguments", _COMMANDS, ids=" ".join)
def test_a_fork_of_the_server_does_what_a_process_started_from_nothing_does(
    arguments: list[str], tmp_path: Path
) -> None:
    """Both end with the same status and text."""
    (tmp_path / "lanner.yaml").write_text("priority: error\n")
    forked, started = (run(*arguments, cwd=tmp_path) for run in (lanner, fresh))
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_runs() -> None:
    """It isn't left behind, and its late answer isn't taken for the next one's."""
    with pytest.raises(subprocess.TimeoutExpired):
        lanner("rules", "list", timeout=0)
    assert lanner("--version").stdout == fresh("--version").stdout


def test_a_server_that_ended_fails_the_test() -> None:
    """Its end is an error, and the next command gets a new one."""
    lanner("--version")
    process = program._servers[0]._process
    process.kill()
    process.wait()
    with pytest.raises((RuntimeError, OSError)):
        lanner("--version")
    assert lanner("--version").returncode == 0


def test_what_an_interpreter_reads_at_its_start_applies() -> None:
    """Such a variable needs a process started from nothing."""
    done = lanner("fields", "proc.name", environment={"PYTHONVERBOSE": "1"})
    assert "import 'lanner.cli.main'" in done.stderr
    assert os.environ.get("PYTHONVERBOSE") is None
