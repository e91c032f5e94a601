"""This machine's /proc as read by Lanner, compared with system calls and ps for the same processes."""

import ctypes
import fcntl
import os
import pty
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from collector.processes.container_names import ContainerName
from collector.processes.files import ProcessFiles
from collector.processes.process import TICK
from collector.processes.table import ProcessTable
from collector.processes.users import UserFiles
from collector.records.types import ProcessIdentity

pytestmark = pytest.mark.live

FILES = ProcessFiles()
CLONE_NEWNS = 0x00020000


@contextmanager
def child(*command: str | bytes, **options: object) -> Iterator[int]:
    """Run a program until the end of the block, and wait until it has been exec'd."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        # The exec returns when it can no longer fail, which is before the new arguments are in place.
        wait_until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes() != b"")
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


def boot_time() -> int:
    """Return the boot clock in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_this_process_is_what_it_reports_of_itself() -> None:
    """Ids, directory, program, arguments, groups and session."""
    facts = FILES.read(os.getpid())

    assert facts is not None
    program, context = facts.program, facts.context
    assert (context.ppid, context.pgid, context.sid) == (os.getppid(), os.getpgid(0), os.getsid(0))
    assert context.cwd == str(Path.cwd())
    assert program.exepath == os.path.realpath(sys.executable)
    assert list(program.args or ()) == sys.orig_argv[1:]
    assert program.exe == sys.orig_argv[0]
    assert (facts.credentials.uid, facts.credentials.gid) == (os.geteuid(), os.getegid())
    assert program.exe_ino == Path(sys.executable).stat().st_ino
    assert context.pid_namespace == Path("/proc/self/ns/pid").stat().st_ino
    assert context.mount_namespace == Path("/proc/self/ns/mnt").stat().st_ino


def test_every_process_is_what_ps_reports() -> None:
    """The same look-up by another program; processes that started or ended in the meantime are left out."""
    mine = {facts.pid: facts for facts in FILES.read_all()}
    lines = subprocess.check_output(
        ["ps", "-e", "-o", "pid=,ppid=,pgid=,sid=,euid=,egid=,tty="], text=True
    ).splitlines()
    later = {facts.pid: facts for facts in FILES.read_all()}
    compared = 0
    for line in lines:
        pid, ppid, pgid, sid, uid, gid, tty = line.split()
        facts = mine.get(int(pid))
        if facts is None or later.get(int(pid)) != facts:
            continue
        context = facts.context
        assert [context.ppid, context.pgid, context.sid] == [int(ppid), int(pgid), int(sid)], line
        assert [facts.credentials.uid, facts.credentials.gid] == [int(uid), int(gid)], line
        # A container's terminals have no device where ps looks.
        assert (
            bool(context.tty) == (tty != "?") or context.mount_namespace != mine[os.getpid()].context.mount_namespace
        ), line
        compared += 1

    assert compared > 5


def test_a_start_is_between_the_times_before_and_after_it() -> None:
    """On the boot clock, to a tick."""
    before = boot_time()
    with child("sleep", "60") as pid:
        after = boot_time()
        facts = FILES.read(pid)

    assert facts is not None
    assert before // TICK <= facts.start_ticks <= after // TICK


def test_a_terminal_has_its_device_s_number() -> None:
    """The first pseudo terminal is 34816."""
    master, slave = pty.openpty()
    device = os.fstat(slave).st_rdev

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    with child("sleep", "60", preexec_fn=take_terminal) as pid:
        facts = FILES.read(pid)
    os.close(master)
    os.close(slave)

    assert facts is not None
    assert facts.context.tty == (os.major(device) << 8 | os.minor(device))
    assert facts.context.tty >= 34816
    assert (facts.context.sid, facts.context.pgid) == (pid, pid)


def test_arguments_of_any_bytes_and_any_length_are_read() -> None:
    """Invalid UTF-8 stays distinguishable; a megabyte of arguments is cut."""
    with child(b"sh", b"-c", b"read line", b"\xff\n\x1b[31m") as pid:
        odd = FILES.read(pid)
    with child(sys.executable, "-c", "input()", *("x" * 1000 for _ in range(1000))) as pid:
        huge = FILES.read(pid)

    assert odd is not None
    assert huge is not None
    assert odd.program.args == ("-c", "read line", "\udcff\n\x1b[31m")
    assert sum(len(each) + 1 for each in (huge.program.exe or "", *(huge.program.args or ()))) <= 4097


def test_another_user_without_capabilities_is_reported() -> None:
    """The effective ids, and the remaining capabilities."""
    with child("sleep", "60", user=33, group=34, extra_groups=()) as pid:
        facts = FILES.read(pid)

    assert facts is not None
    assert (facts.credentials.uid, facts.credentials.gid) == (33, 34)
    assert (facts.credentials.cap_effective, facts.credentials.cap_permitted) == (0, 0)


def test_a_program_in_memory_is_reported(tmp_path: Path) -> None:
    """It has no file, and its name is the memfd's."""
    memory = os.memfd_create("payload")
    with Path(shutil.which("sleep") or "/bin/sleep").open("rb") as file:
        os.write(memory, file.read())
    with child(f"/proc/self/fd/{memory}", "60", pass_fds=(memory,), cwd=tmp_path) as pid:
        facts = FILES.read(pid)
    os.close(memory)

    assert facts is not None
    assert facts.program.is_from_memfd is True
    assert facts.context.cwd == str(tmp_path)


def test_a_deleted_program_keeps_its_path(tmp_path: Path) -> None:
    """Without the suffix that the kernel adds."""
    copy = tmp_path / "copy"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", copy)
    with child(str(copy), "60") as pid:
        copy.unlink()
        facts = FILES.read(pid)

    assert facts is not None
    assert facts.program.exepath == str(copy)
    assert facts.program.is_from_memfd is False


def test_a_pid_namespace_s_first_process_is_one() -> None:
    """Both pids are shown: the host's and its own."""
    with child("unshare", "--pid", "--fork", "--kill-child", "sleep", "60") as outer:
        pid = wait_for_child(outer)
        facts = FILES.read(pid)
        table = ProcessTable(FILES, 0)
        table.seed(FILES.read_all())
        entry = table.living.get(pid)

        assert facts is not None
        assert (facts.pid, facts.context.vpid) == (pid, 1)
        assert entry is not None
        assert entry.context.pid_namespace_init_start == entry.start_time
        assert entry.parent is table.living.get(outer)


def test_names_come_from_the_files_below_the_process_s_root(tmp_path: Path) -> None:
    """A process with a root of its own, as in a container, has users of its own."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("inside:x:0:0::/in:/bin/none\n")
    (tmp_path / "etc" / "group").write_text("within:x:0:\n")

    process = os.fork()
    if process == 0:
        ctypes.CDLL(None).unshare(CLONE_NEWNS)
        os.chroot(tmp_path)
        time.sleep(60)
        os._exit(0)
    try:
        wait_until(lambda: Path(f"/proc/{process}/root").readlink() == tmp_path)
        names = UserFiles().names(0, 0, -1, ContainerName("docker", "c" * 64), (process,))
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)

    assert (names.user, names.group, names.home, names.shell) == ("inside", "within", "/in", "/bin/none")
    assert UserFiles().names(0, 0, -1, None, ()).user == "root"


def test_processes_that_vanish_while_they_are_read_make_no_fault() -> None:
    """A storm of short-lived processes, read without pause."""
    storm = subprocess.Popen(["sh", "-c", "i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done"])
    rounds = 0
    while storm.poll() is None:
        for facts in FILES.read_all():
            assert facts.pid > 0
        rounds += 1

    assert rounds > 0


def test_a_process_that_is_gone_is_stale() -> None:
    """Only its record names it."""
    process = subprocess.Popen(["true"])
    start = boot_time()
    process.wait()
    table = ProcessTable(FILES, 0)

    entry = table.resolve(ProcessIdentity(start, process.pid, process.pid, start, 1, 0, 1))

    assert entry.is_stale
    assert (entry.program.name, table.stale) == (None, 1)


def test_every_parent_is_known_after_the_start() -> None:
    """The chain from this process ends at the first one."""
    table = ProcessTable(FILES, 0)
    table.seed(FILES.read_all())
    entry = table.living.get(os.getpid())
    pids = []
    while entry is not None:
        pids.append(entry.pid)
        entry = entry.parent

    assert pids[:2] == [os.getpid(), os.getppid()]
    assert pids[-1] == 1


def wait_for_child(pid: int) -> int:
    """Wait until a process has a child that runs its program, and return the child."""
    found: list[int] = []

    def has_child() -> bool:
        with suppress(OSError):
            found[:] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return bool(found) and Path(f"/proc/{found[0]}/comm").read_text() == "sleep\n"

    wait_until(has_child)
    return found[0]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another process fulfills."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
