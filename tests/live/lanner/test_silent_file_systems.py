"""A plain user's file system that doesn't answer keeps Lanner from nothing: not from starting, watching or ending."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.containers.bundles import Bundles
from collector.processes.files import ProcessFiles
from collector.procfs.look_ups import LookUps
from tests.live.lanner.watching import Watching
from tests.live.needs import lacking

pytestmark = pytest.mark.live

PROGRAM = Path(__file__).parent.parent / "programs" / "silent_fuse.py"
NOBODY_IN_PARTICULAR = 1000
FUSE_DEVICE = os.makedev(10, 229)
LOST = re.compile(r"Events lost: \d+.*")


@contextmanager
def silence(mode: str, seconds: float = 60, name: str = "python3") -> Iterator[int]:
    """Run a process, as a plain user, that waits for that user's FUSE server, and yield its pid.

    Args:
        mode: what others wait for who look at the process.
        seconds: how long.
        name: the process's name.
    """
    folder = Path(tempfile.mkdtemp(prefix="silent-"))
    try:
        os.mknod(folder / "device", 0o20666, FUSE_DEVICE)
        (folder / "device").chmod(0o666)
        shutil.copy(PROGRAM, folder)
        for each in ("lower", "empty", "merged"):
            (folder / each).mkdir()
        (folder / name).symlink_to("/usr/bin/python3")
        folder.chmod(0o755)
        user = ("--reuid", str(NOBODY_IN_PARTICULAR), "--regid", str(NOBODY_IN_PARTICULAR), "--clear-groups")
        arguments = (str(folder / PROGRAM.name), mode, str(folder), str(seconds))
        command = ["setpriv", *user, "unshare", "-Urm", str(folder / name), "-I", *arguments]
        # In a session of its own, to be ended with all that it started.
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                if not line.strip().isdigit():
                    lacking(f"a plain user can't mount here what this test needs: exit code {server.wait()}")
                yield int(line)
            finally:
                os.killpg(server.pid, signal.SIGKILL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_held_up(pid: int, file: str) -> bool:
    """Return whether another process's look at this one has not ended within a second."""
    reader = subprocess.Popen(["stat", "-L", file] if "exe" in file else ["cat", file], stdout=subprocess.DEVNULL)
    try:
        reader.wait(1)
    except subprocess.TimeoutExpired:
        return True
    finally:
        # Not waited for: where it hangs, not even this ends it before the server of the file system ends.
        reader.kill()
    assert Path(f"/proc/{pid}").exists()
    return False


@pytest.mark.parametrize(("mode", "file"), [("overlay", "exe"), ("memory", "cmdline")])
def test_lanner_starts_watches_ends_and_starts_again(mode: str, file: str, rules: Path, tmp_path: Path) -> None:
    """While others that look at the same process hang."""
    with silence(mode) as pid:
        assert is_held_up(pid, f"/proc/{pid}/{file}")
        for number in (1, 2):
            began = time.monotonic()
            with Watching("run", "-r", rules) as lanner:
                mark = tmp_path / f"{number}.lanner-mark"
                mark.write_text("")
                subprocess.run(["cat", str(mark)], check=True)
                lanner.out.wait_for(str(mark))
                ending = time.monotonic()
                assert lanner.end(signal.SIGTERM) == 0
                assert time.monotonic() - ending < 5
            assert time.monotonic() - began < 20
            found = LOST.search(lanner.err.text)
            assert found is not None
            assert ("look_ups_given_up" in lanner.err.text) is (mode == "memory"), lanner.err.text


def test_the_rest_of_what_is_known_of_such_a_process_is_known() -> None:
    """Only what is read from its memory is missing, and that is counted."""
    look_ups = LookUps()
    with silence("memory") as pid:
        began = time.monotonic()
        facts = ProcessFiles(memory=look_ups.memory).read(pid)
        assert time.monotonic() - began < 5
        own = ProcessFiles(memory=look_ups.memory).read(os.getpid())
    look_ups.close()

    assert facts is not None
    assert facts.program.args is None
    assert facts.program.exepath == os.path.realpath("/usr/bin/python3")
    assert facts.program.exe_ino == Path("/usr/bin/python3").stat().st_ino
    assert facts.credentials.uid == NOBODY_IN_PARTICULAR
    assert own is not None
    assert own.program.args
    assert look_ups.given_up == 1
    assert look_ups.left_behind == 0


def test_a_process_with_the_name_of_a_shim_holds_up_no_look_up_of_containers() -> None:
    """Its command line could name a folder of bundles, and is not read, because the process isn't root's."""
    with silence("memory", name="conmon") as pid:
        assert Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "conmon\n"
        began = time.monotonic()
        assert not Bundles().learn(pid)
        assert time.monotonic() - began < 5


def test_the_attributes_of_a_program_on_a_silent_file_system_are_those_in_memory() -> None:
    """The kernel has them, for it runs the program."""
    with silence("overlay") as pid:
        began = time.monotonic()
        facts = ProcessFiles().read(pid)
        assert time.monotonic() - began < 1

    assert facts is not None
    assert facts.program.exepath is not None
    assert facts.program.exe_mode == 0o100777
