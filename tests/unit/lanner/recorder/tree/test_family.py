from dataclasses import replace
from functools import partial

import pytest

from lanner.recorder.context import HostContext, Timeline, TimelineRange, by_number
from lanner.recorder.coverage import RecordingCoverage
from lanner.recorder.tree.activity import Activity, activity_maker
from lanner.recorder.tree.family import MAX_RAN, MAX_STEPS, Family, family
from lanner.recorder.tree.relatives import rows_of_family
from processor.output.redaction import Redaction
from schemas.batch import Container, EventBatch, EventBit
from tests.unit.alerts import alert
from tests.unit.lanner.recorder.tree.incident import MS, TIME, entries, incident, of_event, process
from tests.unit.processor.batches import INIT, batch_of


def test_descendants_follow_their_parent() -> None:
    """Each process names its parent by place, with its start, its end and the alerts of its steps."""
    batch = incident()
    this, other = of_event(batch, 5, id="this"), of_event(batch, 2, id="other")
    found = family(entries(batch), this, [other, this])
    assert [(each.actor.name, each.parent) for each in found.processes] == [
        *(("bash", -1), ("curl", 0), ("cat", 0), ("cp", 0))
    ]
    assert [each.name for each in found.leading] == ["systemd", "sshd"]
    _, curl, cat, _ = found.processes
    assert (curl.started, curl.end and curl.end.target) == (TIME, "0")
    assert [
        (step.step.target, step.is_trigger, [each.id for each in step.alerts]) for step in (*curl.steps, *cat.steps)
    ] == [("198.51.100.7:80", False, ["other"]), ("/etc/shadow", True, ["this"])]


def test_a_container_is_entered_by_its_first_process() -> None:
    """Its descendants are in it, too."""
    container = Container(id="0123456789ab", full_id="0" * 64, type="docker", name="web")
    rows = [INIT, process(10, "shim", 0), process(11, "sh", 1, container=0), process(12, "cat", 2, container=0)]
    batch = batch_of({"type": "openat", "process": 3, "time": TIME + MS}, processes=rows, containers=[container])
    found = family(entries(batch, 1), None, [])
    assert [(each.actor.name, each.enters_container) for each in found.processes] == [("sh", True), ("cat", False)]


def test_no_events_have_no_family() -> None:
    """As when nothing of this time is stored."""
    assert family([], None, []) == Family()


BUSY = 500
"""Programs of other work on the host."""
SHIM, ENTRY, SHELL, CAT = 20, 30, 31, 400


def busy_host(count: int = BUSY, programs: int = BUSY) -> EventBatch:
    """Return the events of a host on which a shell of a container, older than the collector, runs `cat` in a loop."""
    box = Container(id="0123456789ab", full_id="0" * 64, type="docker", name="web")
    rows = [
        INIT,
        process(SHIM, "containerd-shim", 0),
        process(ENTRY, "docker-init", 1, container=0),
        process(SHELL, "sh", 2, container=0),
        process(CAT, "cat /etc/shadow", 3, container=0),
        process(CAT + 1, "cat /etc/hosts", 3, container=0),
        process(50, "make", 0),
        *(process(1000 + number, f"cp -a {number}", 6) for number in range(programs)),
    ]
    events: list[dict[str, object]] = [
        {"type": "openat", "process": 7 + number % programs, "time": TIME + number, "fd_name": f"/tmp/{number}"}
        for number in range(count)
    ]
    events += [
        {"type": "openat", "process": 5, "time": TIME + MS, "fd_name": "/etc/hosts"},
        {"type": "openat", "process": 4, "time": TIME + 2 * MS, "fd_name": "/etc/shadow"},
        {"type": "openat", "process": 0, "time": TIME + 3 * MS, "fd_name": "/run/x"},
    ]
    return batch_of(*events, processes=rows, containers=[box])


def story_of(batch: EventBatch, *, lost: bool) -> tuple[Timeline[Activity], Family]:
    """Return what is read of the host for the alert of `cat`. lost: whether its event was."""
    event = {"evt.num": 77_777 if lost else BUSY + 2, "proc.pid": CAT + 90 if lost else CAT, "proc.ppid": SHELL}
    about = alert(time=TIME + 2 * MS, event=event)
    window = TimelineRange(TIME - 1, about.time, TIME + 9 * MS)
    trigger, write = by_number(about.time, event["evt.num"]), partial(activity_maker, redaction=Redaction())
    timeline = Timeline(window, trigger, write, 100, rows_of_family(about))
    timeline.take(batch)
    found = family(HostContext(timeline, RecordingCoverage()).entries(), about, [about])
    found.count_others(timeline)
    return timeline, found


@pytest.mark.parametrize("lost", [False, True], ids=["the event is there", "the event was lost"])
def test_other_work_of_a_busy_host_is_not_drawn(lost: bool) -> None:
    """Only the shell with what it ran, whether or not the alert's event arrived; other events are counted."""
    timeline, found = story_of(busy_host(), lost=lost)
    assert timeline.is_found is not lost
    assert [each.name for each in found.leading] == ["systemd", "containerd-shim", "docker-init"]
    assert [each.actor.name for each in found.processes] == ["sh", "cat", "cat"]
    assert (found.other_events, found.other_processes) == (BUSY + 1, BUSY)


def test_without_the_family_of_the_alert_nothing_is_drawn() -> None:
    """The alert names processes that did nothing; what others did is no story of it."""
    batch = incident()
    about = replace(of_event(batch, 5), event={"proc.pid": 4_000, "proc.ppid": 4_001})
    found = family(entries(batch, None), about, [])
    assert (found.processes, found.leading) == ([], [])
    assert found.other_processes == 4


def test_an_orphan_stays_in_the_family() -> None:
    """Its parent ended, so that it is a child of process 1 later; a new process with its pid is another one."""
    about = alert(event={"proc.pid": 40, "proc.ppid": 30})
    rows = rows_of_family(about)
    assert rows is not None
    first = batch_of({}, processes=[INIT, process(30, "sh", 0), process(40, "x", 1), process(41, "y", 1)])
    assert rows(first) == {0, 1, 2, 3}
    again = process(41, "z", 0, start_time=TIME + 60_000 * MS)
    second = batch_of({}, processes=[INIT, process(41, "y", 0), process(42, "child", 1), again])
    assert rows(second) == {0, 1, 2}


def test_starts_of_processes_are_drawn_as_processes() -> None:
    """Not as steps, too; one that failed, and one with an alert, is a step."""
    rows = [INIT, process(10, "sh", 0), process(11, "cat", 1)]
    calls: list[dict[str, object]] = [
        {"type": "clone", "process": 1, "time": TIME + number * MS} for number in range(2)
    ]
    calls.append({"type": "clone3", "process": 1, "time": TIME + 2 * MS, "bits": EventBit.FAILED, "result": -11})
    batch = batch_of(*calls, {"type": "openat", "process": 2, "time": TIME + 3 * MS}, processes=rows)
    found = family(entries(batch, 4), None, [of_event(batch, 2)])
    assert [step.step.verb for step in found.processes[0].steps] == ["clone", "clone3"]


@pytest.mark.parametrize(
    ("written", "ran", "is_marked"),
    [
        ({"fd_name": "/tmp/x", "bits": int(EventBit.OPEN_WRITE)}, {}, True),
        ({"type": "rename", "path_source": "/tmp/y", "path_target": "/tmp/x"}, {}, True),
        ({"fd_name": "/tmp/s", "bits": int(EventBit.OPEN_WRITE)}, {"path_name": "/tmp/s"}, True),
        ({"fd_name": "/tmp/x"}, {}, False),
        ({"fd_name": "/tmp/y", "bits": int(EventBit.OPEN_WRITE)}, {}, False),
        ({"fd_name": "/tmp/x", "bits": int(EventBit.OPEN_WRITE | EventBit.FAILED)}, {}, False),
        ({"fd_name": "/tmp/x", "bits": int(EventBit.OPEN_WRITE)}, {"process": 4}, False),
    ],
)
def test_a_file_that_was_written_and_then_run_is_marked(
    written: dict[str, object], ran: dict[str, object], *, is_marked: bool
) -> None:
    """Also one that was renamed, and a script by its path; not what was only read, failed, or is in a container."""
    box = Container(id="0123456789ab", full_id="0" * 64, type="docker", name="web")
    rows = [INIT, process(10, "sh", 0), process(11, "curl", 1), process(12, "x", 1, exepath="/tmp/x")]
    rows.append(process(13, "x", 1, exepath="/tmp/x", container=0))
    batch = batch_of(
        {"type": "openat", "process": 2, "time": TIME, "fd_name": "/tmp/x"},
        {"type": "openat", "process": 2, "time": TIME + MS, **written},
        {"type": "execve", "process": 3, "time": TIME + 2 * MS, **ran},
        {"type": "openat", "process": 2, "time": TIME + 3 * MS, "fd_name": "/tmp/x", "bits": int(EventBit.OPEN_WRITE)},
        processes=rows,
        containers=[box],
    )
    found = family(entries(batch, None), None, [])
    steps = [step for each in found.processes for step in each.steps]
    assert [step.ran for step in steps if step.ran is not None] == [TIME + 2 * MS] * is_marked


def test_few_of_many_files_that_were_run_are_marked() -> None:
    """A build runs all that it makes; the others are folded."""
    rows = [INIT, process(10, "make", 0)]
    rows += [process(100 + number, "x", 1, exepath=f"/b/{number}") for number in range(200)]
    events: list[dict[str, object]] = []
    for number in range(200):
        write = {"type": "openat", "process": 1, "fd_name": f"/b/{number}", "bits": int(EventBit.OPEN_WRITE)}
        events += [write, {"type": "execve", "process": 2 + number}]
    times = [{**each, "time": TIME + number * MS} for number, each in enumerate(events)]
    found = family(entries(batch_of(*times, processes=rows), None), None, [])
    (make,) = (each for each in found.processes if each.actor.name == "make")
    assert sum(step.ran is not None for step in make.steps) == MAX_RAN
    assert len(make.steps) <= MAX_RAN + MAX_STEPS
