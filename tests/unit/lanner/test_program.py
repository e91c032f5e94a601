"""What the other tests run lanner with."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.lanner import program
from tests.unit.lanner.program import Stage, fresh, lanner, stage

_COMMANDS = [["config", "check", "-o", "priority=\udcff"], ["nonsense"], ["replay", "none.avro"], ["rules", "list"]]


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
    process = program._servers[()]._process
    process.kill()
    process.wait()
    with pytest.raises((RuntimeError, OSError)):
        lanner("--version")
    assert lanner("--version").returncode == 0


def test_what_an_interpreter_reads_at_its_start_applies() -> None:
    """Such a variable needs a process started from nothing."""
    done = lanner("fields", "proc.name", environment={"PYTHONVERBOSE": "1"})
    assert "import 'lanner.cli.app'" in done.stderr
    assert os.environ.get("PYTHONVERBOSE") is None


def started(folder: Path, *arguments: str, **variables: str) -> Stage | subprocess.Popen[bytes]:
    """Start a stage that writes to a file in a folder."""
    with (folder / "said").open("wb") as said:
        return stage([*arguments], {**os.environ, **variables}, folder, said.fileno(), said.fileno())


def test_a_stage_is_a_child_of_the_process_that_starts_it(tmp_path: Path) -> None:
    """It prints and ends as one started from nothing does, whatever other stages do, and can be killed."""
    os.mkfifo(tmp_path / "rules.yaml")
    waits = started(tmp_path, "rules", "list", "-r", "rules.yaml")
    assert waits.poll() is None
    ends, expected = started(tmp_path, "nonsense"), fresh("nonsense")
    assert isinstance(ends, Stage)
    assert (ends.wait(), (tmp_path / "said").read_text()) == (expected.returncode, expected.stdout + expected.stderr)
    waits.kill()
    assert waits.wait() == -signal.SIGKILL


def test_a_stage_with_a_variable_that_counts_at_the_start_is_started_from_nothing(tmp_path: Path) -> None:
    """As a command is."""
    assert started(tmp_path, "nonsense", PYTHONVERBOSE="1").wait() == 2
    assert "import 'lanner.cli.app'" in (tmp_path / "said").read_text()


def test_a_script_in_place_of_the_program_finds_its_modules_imported(tmp_path: Path) -> None:
    """Its first arguments precede those of the program, and it changes nothing for others."""
    script = tmp_path / "late.py"
    script.write_text("import sys\nprint(__name__, 'lanner.wiring.stages.processor' in sys.modules, sys.argv[1:])\n")
    with (tmp_path / "said").open("wb") as said:
        run = stage(["first", "rules"], {**os.environ}, tmp_path, said.fileno(), said.fileno(), script=str(script))
    assert (run.wait(), (tmp_path / "said").read_text()) == (0, "__main__ True ['first', 'rules']\n")
    assert started(tmp_path, "nonsense").wait() == 2
