import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from collector.bpf.build import build_target, store_program

SCRIPTS = sorted(Path("deploy/setup").glob("*.sh"))


@pytest.mark.skipif("CI" not in os.environ and shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_report() -> None:
    """It checks the set-up scripts together."""
    done = subprocess.run(["shellcheck", "-x", ".ci/run", *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_constraints_name_versions_and_nothing_else() -> None:
    """No address of an index, no hash, no path: any index will do."""
    lines = Path("constraints.txt").read_text().splitlines()
    assert all(line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


@pytest.mark.parametrize(("known", "allowed"), [("YES=1", True), ("LANNER_SUDO=yes", True), ("LANNER_SUDO=no", False)])
def test_sudo_is_used_without_a_question_where_the_answer_is_known(known: str, allowed: bool, tmp_path: Path) -> None:
    """YES=1, or an answer given before in the same run; a pipe is never asked."""
    for name, text in (("id", "#!/bin/sh\necho 1000\n"), ("sudo", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = f"PATH={tmp_path}:$PATH; {known}; . deploy/setup/ask.sh; may_be_root 'do it'"
    done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode == 0, done.stdout, done.stderr) == (allowed, "", "")


def test_ctrl_c_ends_the_set_up_whatever_the_interrupted_program_makes_of_it() -> None:
    """An installer that exits with a failure of its own is no reason to do something else instead."""
    installer = "trap 'exit 1' INT; echo begun; while :; do sleep 0.1; done"
    script = f'. deploy/setup/ask.sh; bash -c "{installer}" || echo instead'
    # A shell can't trap what was ignored when it started, as it is for what runs in the background.
    command = ["env", "--default-signal=INT", "bash", "-c", script]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    os.killpg(running.pid, signal.SIGINT)
    assert running.communicate(timeout=10) == ("", None)
    assert running.returncode == 130


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_interrupt_the_end_of_a_script(first: signal.Signals) -> None:
    """What a cluster's script started is stopped, however often and by whichever signal it is asked to."""
    script = (
        ". deploy/setup/ask.sh; end() { echo ending; read -r; echo ended $1; }; at_end end; echo begun; sleep 60 & wait"
    )
    # As above; SIGHUP is ignored below nohup.
    command = ["env", "--default-signal", "bash", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        os.kill(running.pid, first)
        assert running.stdout.readline() == "ending\n"
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.killpg(running.pid, each)
        assert running.communicate("\n", timeout=10)[0] == "ended 0\n"
        assert running.returncode == 0


def test_setting_up_again_is_quick_and_silent() -> None:
    """All that is there is left alone: what `make run` costs the second time."""
    if not Path(".venv/.made-of").exists():
        assert "CI" not in os.environ, "CI makes its environment by deploy/setup/setup.sh test"
        pytest.skip("the environment was not made by make setup")
    done = subprocess.run(["deploy/setup/system.sh", "list"], capture_output=True, text=True, check=True, timeout=5)
    assert "install" not in done.stdout


def test_a_checkout_that_has_the_compiled_program_needs_no_compiler(tmp_path: Path) -> None:
    """The system's Python looks for it, before there is a virtual environment; another version's counts for nothing."""
    for name in ("collector", "foundation", "schemas", "deploy/setup"):
        shutil.copytree(name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "objects"))
    (tmp_path / "bin").mkdir()
    for name, text in (("uname", "#!/bin/sh\necho none\n"), ("dpkg-query", "#!/bin/sh\n"), ("apt-get", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHON": "/usr/bin/python3"}
    program = tmp_path / "collector/bpf/objects" / build_target().file_name

    def missing() -> str:
        command = [tmp_path / "deploy/setup/system.sh", "list"]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    content = {"maps": {"events": {}}, "variants": {"typed": {"on_exit": {}}}}
    store_program(program, content, replace(build_target(), program="x"))
    assert "python3-bpfcc" in missing()
    store_program(program, content, build_target())
    assert missing() == "install python3-venv\n"


def test_a_test_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    """Each part runs once, whatever the result of the one before, the whole has failed, and nothing is left."""
    script = tmp_path / "deploy" / "setup" / "tests.sh"
    script.parent.mkdir(parents=True)
    shutil.copy("deploy/setup/tests.sh", script)
    lint = script.with_name("lint.sh")
    lint.write_text("#!/bin/sh\necho lines that are too long\nexit 1\n")
    lint.chmod(0o755)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # It has one file in each lane, and leaves another in the temporary folder.
    listed = 'case "$*" in *tests.tiers*) echo "tests/$3"; exit;; *pytest*) touch "$TMPDIR/left";; esac'
    python.write_text(f'#!/bin/sh\n{listed}\necho "$*" >> {tmp_path}/runs\nexit 1\n')
    python.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    variables = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run([script, "lint fast main"], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith("lines that are too long\n")
    _, _, *runs = (tmp_path / "runs").read_text().splitlines()
    lanes = [run.rpartition(" ")[2] for run in runs]
    assert [lane for lane in lanes if lane != "tests/computing"] == ["tests/parallel", "tests/live", "tests/alone"]
    assert lanes.count("tests/computing") == 1
    assert list((tmp_path / "tmp").iterdir()) == []


COMPLETIONS = {
    "bash": "bash-completion/completions/lanner",
    "zsh": "zsh/site-functions/_lanner",
    "fish": "fish/vendor_completions.d/lanner.fish",
}
"""Where shells look below PREFIX/share."""


def checkout(folder: Path) -> Path:
    """Return a checkout with the scripts and a program."""
    (folder / "deploy" / "setup").mkdir(parents=True)
    for name in ("install.sh", "ask.sh"):
        shutil.copy(f"deploy/setup/{name}", folder / "deploy" / "setup" / name)
    program = folder / ".venv" / "bin" / "lanner"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$*"\n')
    program.chmod(0o755)
    return program


def install(program: Path, prefix: Path, what: str) -> subprocess.CompletedProcess[str]:
    """Install a checkout's program below a folder, or remove it."""
    script = program.parents[2] / "deploy" / "setup" / "install.sh"
    environment = os.environ | {"PREFIX": str(prefix), "LANNER_SUDO": "no"}
    return subprocess.run([script, what], capture_output=True, text=True, check=False, env=environment)


def test_the_program_is_linked_into_the_path_and_removed_again(tmp_path: Path) -> None:
    """Twice does no harm; what is not a link to this checkout is left alone."""
    program, link = checkout(tmp_path / "a b"), tmp_path / "usr" / "bin" / "lanner"
    other = checkout(tmp_path / "other")
    for _ in range(2):
        assert install(program, tmp_path / "usr", "install").returncode == 0
        assert link.readlink() == program
        assert [(tmp_path / "usr" / "share" / path).read_text() for path in COMPLETIONS.values()] == [
            f"completion {shell}\n" for shell in COMPLETIONS
        ]
    assert install(other, tmp_path / "usr", "install").returncode == 1
    assert "not a link to this checkout" in install(other, tmp_path / "usr", "uninstall").stderr
    assert link.readlink() == program
    assert install(program, tmp_path / "usr", "uninstall").returncode == 0
    assert not link.is_symlink()
    assert not any((tmp_path / "usr" / "share" / path).exists() for path in COMPLETIONS.values())
    link.write_text("someone else's")
    assert install(program, tmp_path / "usr", "install").returncode == 1
    assert link.read_text() == "someone else's"


def test_a_program_that_was_not_set_up_is_not_linked(tmp_path: Path) -> None:
    """The message names the command that sets it up."""
    program = checkout(tmp_path / "a")
    program.unlink()
    done = install(program, tmp_path / "usr", "install")
    assert (done.returncode, done.stderr) == (3, "lanner: run `make setup` first.\n")
