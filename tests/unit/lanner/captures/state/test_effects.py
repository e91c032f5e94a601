"""What events change in threads, as Falco's library changes them."""

from tests.unit.lanner.captures.format import scap_files as scap
from tests.unit.lanner.captures.test_reading import only

THREAD = 1 << 13
CALL = {"res": 0}


def _old(number: int, tid: int, *params: bytes) -> bytes:
    return scap.numbered_event(number, tid, list(params))


def test_a_thread_of_an_unknown_process_makes_the_process_known() -> None:
    """The main thread takes over the program of a thread that began before it was seen."""
    values = {"res": 0, "exe": "curl", "args": b"x\0", "tid": 843, "pid": 842, "ptid": 10, "cwd": "", "fdlimit": 0}
    values |= {"comm": "curl", "flags": THREAD, "uid": 0, "gid": 0, "vtid": 843, "vpid": 842}
    data = scap.capture(scap.event("clone", 843, values), scap.event("kill", 842, {**CALL, "pid": 842, "sig": 9}))
    assert only(data, "proc.name", "proc.cmdline", "proc.pid", "proc.cwd", "evt.arg.pid") == (
        *("curl", "curl x", 842, ""),
        "curl",
    )


def test_an_exec_without_new_facts_keeps_the_former_ones() -> None:
    """An exec of an old capture leaves the environment and the file of the program as they were."""
    old = {"exe": "/bin/x", "comm": "x", "tid": 10, "pid": 10, "ptid": 1, "res": 0, "args": b"", "cwd": ""}
    data = scap.capture(scap.executed(10, "cat", b""), scap.event("execve", 10, old))
    assert only(data, "proc.name", "proc.env", "proc.is_exe_writable", "proc.exe_ino") == (
        *("x", "HOME=/root", True),
        7,
    )


def test_an_empty_name_is_not_replaced_by_the_executable() -> None:
    """Only a missing name of a program is that of its executable."""
    values = {"exe": "/bin/x", "comm": "", "tid": 10, "pid": 10, "ptid": 1, "res": 0}
    assert only(scap.capture(scap.event("execve", 10, values)), "proc.name") == ("",)


def test_a_relative_change_of_directory_by_another_thread_starts_from_nothing() -> None:
    """Falco keeps the directory with the main thread, and joins a path to the one of the calling thread."""
    listed = scap.processes(scap.process(1, parent=0, comm="init"), scap.process(10), scap.process(10, tid=11))
    data = scap.capture(scap.event("chdir", 11, {"res": 0, "path": "sub"}), listed=listed)
    assert only(data, "proc.cwd") == ("sub/",)


def test_orphans_go_to_a_process_that_asked_for_them() -> None:
    """A subreaper adopts the children of a process that ends."""
    listed = scap.processes(
        *(scap.process(1, parent=0, comm="init"), scap.process(5, comm="manager")),
        *(scap.process(10, parent=5, comm="sh"), scap.process(20, parent=10, comm="job")),
    )
    asked = scap.event("prctl", 5, {"res": 0, "option": 36, "arg2_str": "", "arg2_int": 1})
    ended = scap.event("procexit", 10, {"status": 0, "ret": 0, "sig": 0, "core": 0, "reaper_tid": 0}, is_exit=False)
    after = scap.event("setsid", 20, {"res": 20})
    assert only(scap.capture(asked, ended, after, listed=listed), "proc.pname") == ("manager",)
    assert only(scap.capture(ended, after, listed=listed), "proc.pname") == ("init",)


def test_an_event_that_is_no_call_makes_its_thread_known() -> None:
    """A signal to a thread that the capture doesn't describe has Falco's values for such threads."""
    data = scap.capture(scap.event("signaldeliver", 77, {"spid": 1, "dpid": 77, "sig": 9}, is_exit=False))
    assert only(data, "proc.name", "proc.pid", "user.uid") == ("<NA>", -1, 0xFFFFFFFF)


def test_controllers_have_the_names_that_falco_gives_them() -> None:
    """Groups of controllers are renamed in thread.cgroups."""
    child = scap.event("clone", 20, {**_CHILD, "cgroups": b"cpu=/\0mem_cgroup=/x\0io=/y\0perf_event_cgroup=/z\0"})
    assert only(scap.capture(child), "thread.cgroups") == ("cpu=/ memory=/x blkio=/y perf_event=/z",)


def test_a_single_empty_argument_is_none() -> None:
    """A program that has overwritten its arguments has none."""
    assert only(scap.capture(scap.executed(10, "cat", b"\0")), "proc.cmdline", "proc.cmdnargs") == ("cat", 0)


def test_a_group_of_an_old_capture_has_a_leader() -> None:
    """Without the host's id of a group, its leader is found by the id within the namespace."""
    old = {"exe": "/bin/x", "comm": "x", "tid": 10, "pid": 10, "ptid": 1, "res": 0, "vpgid": 1}
    assert only(scap.capture(scap.event("execve", 10, old)), "proc.vpgid.name", "proc.pgid") == ("init", -1)


def test_events_without_a_thread_have_no_container() -> None:
    """A process that the capture doesn't describe is neither in a container nor on the host."""
    data = scap.capture(scap.event("procinfo", 77, {"cpu_usr": 1, "cpu_sys": 2}, is_exit=False))
    assert only(data, "container.id", "container.name", "proc.name") == (None, None, None)


_CHILD: dict[str, int | str | bytes | None] = {
    "res": 0,
    "exe": "x",
    "args": b"",
    "tid": 20,
    "pid": 20,
    "ptid": 10,
    "cwd": "",
    "fdlimit": 0,
    "comm": "x",
    "flags": 0,
    "uid": 0,
    "gid": 0,
    "vtid": 20,
    "vpid": 20,
}
