import os
from pathlib import Path

import pytest

from collector.processes.files import ProcessFiles
from schemas.filter import EVERY_VARIABLE

STATUS = (
    b"Name:\tcat\nTgid:\t%d\nPid:\t%d\nPPid:\t5\nUid:\t0\t33\t0\t0\nGid:\t0\t33\t0\t0\n"
    b"NSpid:\t%d\nNSpgid:\t7\nNSsid:\t6\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\n"
)


def lay_out(proc: Path, pid: int, *, start: int = 100, flags: int = 4194304, cmdline: bytes = b"cat\0x\0") -> Path:
    """Create the files of one process as procfs shows them."""
    folder = proc / str(pid)
    (folder / "ns").mkdir(parents=True)
    (folder / "stat").write_bytes(
        b"%d (cat) S 5 7 6 34817 7 %d 1 0 0 0 0 0 0 0 20 0 1 0 %d 3133440 393 1" % (pid, flags, start)
    )
    (folder / "status").write_bytes(STATUS % (pid, pid, pid))
    (folder / "cmdline").write_bytes(cmdline)
    (folder / "environ").write_bytes(b"A=1\0B=\xff\0")
    (folder / "cgroup").write_bytes(b"8:pids:/docker/x\n0::/\n")
    (folder / "loginuid").write_text("4294967295")
    (folder / "exe").symlink_to("/bin/cat (deleted)")
    (folder / "cwd").symlink_to(os.fsencode("/tmp/\udcff"))
    (folder / "ns" / "pid").symlink_to("pid:[4026531836]")
    (folder / "ns" / "mnt").symlink_to("mnt:[4026531841]")
    return folder


def test_a_process_is_read_from_its_files(tmp_path: Path) -> None:
    """Everything that /proc shows, in the units of kernel records."""
    lay_out(tmp_path, 9)

    facts = ProcessFiles(tmp_path).read(9)

    assert facts is not None
    program, context = facts.program, facts.context
    assert (facts.pid, facts.start_ticks) == (9, 100)
    assert (program.name, program.exe, program.exepath, program.args) == ("cat", "cat", "/bin/cat", ("x",))
    assert (program.env, program.is_from_memfd, program.is_upper_layer) == (None, False, None)
    assert (facts.credentials.uid, facts.credentials.cap_effective) == (33, 0)
    assert (context.ppid, context.vpid, context.pgid, context.sid, context.tty) == (5, 9, 7, 6, 34817)
    assert (context.loginuid, context.pid_namespace, context.mount_namespace) == (-1, 4026531836, 4026531841)
    assert (context.cwd, context.cgroup) == ("/tmp/\udcff", "/docker/x")


def test_the_environment_is_shown_only_when_requested(tmp_path: Path) -> None:
    """It contains secrets."""
    lay_out(tmp_path, 9)

    requested = ProcessFiles(tmp_path, variables=frozenset({EVERY_VARIABLE})).read(9)
    facts = ProcessFiles(tmp_path).read(9)

    assert requested is not None
    assert facts is not None
    assert (requested.program.env, facts.program.env) == (("A=1", "B=\udcff"), None)


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        (b"A=1\0", b"cat\0", "/bin/cat"),
        (b"", b"cat\0", "/bin/cat"),
        (b"A=1\0LD_PRELOAD=/tmp/x.so\0", b"cat\0", None),
        (b"A=1\0".ljust(64 * 1024, b"x"), b"cat\0", None),
        (b"", b"", None),
    ],
)
def test_a_program_that_others_may_have_changed_has_no_path_of_code(
    tmp_path: Path, environment: bytes, arguments: bytes, expected: str | None
) -> None:
    """Neither has one whose environment can't be read whole, or that is in the middle of an exec."""
    (lay_out(tmp_path, 9, cmdline=arguments) / "environ").write_bytes(environment)

    facts = ProcessFiles(tmp_path).read(9)

    assert facts is not None
    assert facts.program.codepath == expected


def test_what_is_not_read_to_its_end_reports_it(tmp_path: Path) -> None:
    """The limit equals the kernel side's, and nobody can pad an argument out of sight unnoticed."""
    whole = lay_out(tmp_path, 9, cmdline=b"cat\0".ljust(4095, b"x"))
    (whole / "environ").write_bytes(b"A=1\0".ljust(4096, b"x"))
    lay_out(tmp_path, 10, cmdline=b"cat\0".ljust(4096, b"x"))
    files = ProcessFiles(tmp_path, variables=frozenset({EVERY_VARIABLE}))

    first, second = (facts.program for pid in (9, 10) if (facts := files.read(pid)) is not None)

    assert (first.is_args_truncated, first.is_env_truncated) == (False, True)
    assert (second.is_args_truncated, second.is_env_truncated) == (True, False)
    assert [len(program.args or ()) and len((program.args or ("",))[0]) for program in (first, second)] == [4091, 4091]


def test_kernel_threads_have_a_name_only(tmp_path: Path) -> None:
    """They have no program, and none is looked up."""
    lay_out(tmp_path, 9, flags=0x00200000, cmdline=b"")

    facts = ProcessFiles(tmp_path).read(9)

    assert facts is not None
    assert (facts.program.name, facts.program.exepath, facts.program.args) == ("cat", None, ())


@pytest.mark.parametrize("missing", ["cmdline", "exe", "cwd", "loginuid", "cgroup", "ns/pid"])
def test_a_file_that_is_gone_leaves_its_fact_missing(tmp_path: Path, missing: str) -> None:
    """Some files need more rights than others, and a zombie has no program."""
    (lay_out(tmp_path, 9) / missing).unlink()

    facts = ProcessFiles(tmp_path).read(9)

    assert facts is not None
    assert facts.program.name == "cat"


def test_an_empty_command_line_is_not_known(tmp_path: Path) -> None:
    """The process is in the middle of an exec, a zombie, or wiped it: that is not a program without arguments."""
    lay_out(tmp_path, 9, cmdline=b"")

    facts = ProcessFiles(tmp_path).read(9)

    assert facts is not None
    assert (facts.program.exe, facts.program.args) == (None, None)


@pytest.mark.parametrize("missing", ["stat", "status"])
def test_a_process_without_its_main_files_is_gone(tmp_path: Path, missing: str) -> None:
    """It ended between two reads."""
    (lay_out(tmp_path, 9) / missing).unlink()

    assert ProcessFiles(tmp_path).read(9) is None


def test_a_process_replaced_while_it_is_read_is_not_mixed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pid was reused between the first file and the last."""
    folder = lay_out(tmp_path, 9)
    files = ProcessFiles(tmp_path)
    original = files._context

    def replace(*arguments: object) -> object:
        text = (folder / "stat").read_bytes()
        (folder / "stat").write_bytes(text.replace(b" 100 ", b" 101 "))
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "_context", replace)

    assert files.read(9) is None


def test_a_thread_is_not_a_process(tmp_path: Path) -> None:
    """/proc lists thread ids too."""
    folder = lay_out(tmp_path, 9)
    (folder / "status").write_bytes(STATUS % (8, 9, 9))

    assert ProcessFiles(tmp_path).read(9) is None


def test_all_processes_are_read_and_other_names_left_out(tmp_path: Path) -> None:
    """One that has ended does not stop the others."""
    lay_out(tmp_path, 9)
    lay_out(tmp_path, 10)
    (lay_out(tmp_path, 11) / "stat").unlink()
    (tmp_path / "sys").mkdir()

    assert sorted(each.pid for each in ProcessFiles(tmp_path).read_all()) == [9, 10]


def test_a_program_in_memory_is_reported(tmp_path: Path) -> None:
    """Its path is the memfd's name."""
    folder = lay_out(tmp_path, 9)
    (folder / "exe").unlink()
    (folder / "exe").symlink_to("/memfd:x (deleted)")

    facts = ProcessFiles(tmp_path).read(9)

    assert facts is not None
    assert facts.program.is_from_memfd is True


def test_no_file_system_is_queried_about_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own file system need not respond to stat: what the kernel has in memory is enough."""
    expected = Path("/proc/self/exe").stat().st_ino

    def hangs(*_: object, **__: object) -> None:
        raise AssertionError("this would wait for the file system")

    with monkeypatch.context() as patched:
        for name in ("stat", "lstat", "fstat"):
            patched.setattr(os, name, hangs)
        facts = ProcessFiles().read(os.getpid())
    assert facts is not None
    assert facts.program.exe_ino == expected
