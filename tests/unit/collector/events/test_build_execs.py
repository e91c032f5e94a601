from dataclasses import replace

import pytest

from collector.events.batch_builder import BatchBuilder
from collector.events.build import EventSource, add_exec, add_exit
from collector.records.types import ExecParts, Exit
from schemas.batch import MISSING_INT, EventBit
from schemas.catalog.fields import EVENTS
from tests.unit.collector.calls import call
from tests.unit.collector.events.test_build import ORIGIN, PROCESS, TIME, arguments, row
from tests.unit.collector.processes.synthetic import execution, identity

GROUP = {"pgid": 5, "vpgid": 5, "sid": 5}
ENDS = [(20, 0, False), (30, 0, False), (40, 9, False), (50, 0, True), (60, 256, False), (70, 9, False), (80, 0, True)]
"""Process, status as of wait(2), whether some of its facts are missing."""


def test_an_exec_names_its_file() -> None:
    """As passed, and joined with the working directory after the exec."""
    done = replace(execution(identity(10), "id", cwd="/usr/bin", vpid=3), filename="./id", cpu=2)
    found = row(done)

    assert (found["type"], found["path_name"], found["path_name_raw"]) == ("execve", "/usr/bin/id", "./id")
    assert (found["bits"], found["res"], found["cpu"], found["vthread"]) == (EventBit.HAS_RES, 0, 2, 3)
    assert found["fd_num"] == MISSING_INT


@pytest.mark.parametrize("event", ["execve", "execveat"])
def test_its_arguments_are_falco_s(event: str) -> None:
    """Equal to those of a failed one, which comes from a system call."""
    done = replace(execution(identity(10), "id"), event_type=event)
    names = [param.name for param in EVENTS[event].params]

    assert list(arguments(done)) == list(arguments(call(event, result=-2))) == names


def test_each_argument_is_in_falco_s_form() -> None:
    """Lists have a dot for each NUL, capabilities are hexadecimal."""
    who = identity(10, uid=1000)
    done = replace(
        execution(who, "id", "-u", "", cap_effective=0x1FF, tty=34816, loginuid=1000, gid=0, cwd="/root"),
        env=("A=1", "B=2"),
        is_upper_layer=True,
        is_lower_layer=False,
    )
    found = arguments(done, replace(ORIGIN, process=replace(PROCESS, is_exe_writable=True)))

    assert found["res"] == ("0", 0)
    assert (found["exe"], found["args"], found["env"]) == (("id", 0), ("-u..", 0), ("A=1.B=2.", 0))
    assert (found["tid"], found["pid"], found["ptid"], found["pgid"]) == (("10", 10), ("10", 10), ("1", 1), ("10", 10))
    assert (found["cwd"], found["comm"], found["tty"]) == (("/root", 0), ("id", 0), ("34816", 34816))
    assert (found["uid"], found["gid"], found["loginuid"]) == (("ann", 1000), ("root", 0), ("ann", 1000))
    assert found["flags"] == ("EXE_WRITABLE|EXE_UPPER_LAYER", 3)
    assert (found["cap_effective"], found["cap_permitted"]) == (("1FF", 511), ("0", 0))
    assert (found["exe_ino"], found["exe_ino_ctime"], found["exe_ino_mtime"]) == (("1000", 1000), ("5", 5), ("6", 6))
    assert (found["trusted_exepath"], found["filename"]) == (("/bin/id", 0), ("/bin/id", 0))


def test_what_has_no_value_is_missing() -> None:
    """No login user, no environment requested, and counters that we don't keep."""
    found = arguments(execution(identity(10), "id"))

    assert found["loginuid"] == ("<NONE>", -1)
    assert (found["env"], found["vm_size"], found["fdlimit"]) == ((None, 0), (None, 0), (None, 0))


def test_a_program_without_any_argument_has_an_empty_name() -> None:
    """An exec with an empty argv, as in CVE-2021-4034."""
    found = arguments(replace(execution(identity(10), "id"), args=()))

    assert (found["exe"], found["args"]) == (("", 0), ("", 0))


def test_a_program_from_memory_is_marked() -> None:
    """The memfd's own name, as Falco shows it."""
    done = replace(execution(identity(10), "id"), exepath="memfd:payload", is_from_memfd=True, is_lower_layer=False)
    found = arguments(done)

    assert (found["flags"], found["trusted_exepath"]) == (("EXE_FROM_MEMFD", 4), ("payload", 0))


@pytest.mark.parametrize("event", ["execve", "execveat"])
@pytest.mark.parametrize(
    "origins",
    [
        (ORIGIN, ORIGIN),
        (ORIGIN, replace(ORIGIN, process=replace(PROCESS, user="bob"), user_name={0: "bob"}.get)),
        (ORIGIN, replace(ORIGIN, process=replace(PROCESS, is_exe_writable=True))),
        (ORIGIN, replace(ORIGIN, is_stale=True)),
    ],
)
def test_similar_starts_are_built_as_any_other(event: str, origins: tuple[EventSource, EventSource]) -> None:
    """They share what is the same, also where the facts about their processes differ."""
    parts = ExecParts((), ())
    starts = [
        replace(execution(identity(pid, uid=0), "id", ppid=pid - 1, vpid=7, **GROUP), event_type=event, cpu=pid % 3)
        for pid in (20, 30, 40)
    ]
    shared, single = BatchBuilder(), BatchBuilder()
    for start, origin in zip(starts, (*origins, ORIGIN), strict=True):
        add_exec(shared, replace(start, parts=parts), origin, TIME)
        add_exec(single, start, origin, TIME)

    assert shared.strings == single.strings
    assert shared.columns() == single.columns()


def test_similar_ends_are_built_as_any_other() -> None:
    """Only one of the same status is similar."""
    ends = [(Exit(identity(pid), status, cpu=pid % 3), stale) for pid, status, stale in ENDS]
    shared = BatchBuilder()
    for end, stale in ends:
        add_exit(shared, end, replace(ORIGIN, is_stale=stale), TIME)
    for index, (end, stale) in enumerate(ends):
        single = BatchBuilder()
        add_exit(single, end, replace(ORIGIN, is_stale=stale), TIME)
        assert shared.row(index)[:7] == single.row(0)[:7]
        start = int(shared.columns()["arg_start"][index])
        assert list(shared.columns()["arg_raw"][start : start + 4]) == list(single.columns()["arg_raw"])


def test_a_user_without_a_name_is_not_available() -> None:
    """A uid that no passwd file lists."""
    assert arguments(execution(identity(10, uid=4711), "id"))["uid"] == ("<NA>", 4711)
