"""A recording for tests that need no kernel: one event, made as the collector makes it."""

from pathlib import Path

from schemas.batch import EVENT_COLUMNS, EventBatch, EventBit, Process, empty_columns
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from tests.unit.alerts import TIME


def shadow_read() -> EventBatch:
    """Return the batch of one `cat /etc/shadow` below a shell."""
    strings: list[str | None] = [None, "openat", "file", "/etc/shadow", "name", "flags", "O_RDONLY"]
    facts = {
        "time": TIME,
        "process": 1,
        "thread": 4711,
        "vthread": 4711,
        "res": 3,
        "bits": int(EventBit.OPEN_READ | EventBit.HAS_RES),
        "fd_num": 3,
        "local_port": -1,
        "remote_port": -1,
        "type": 1,
        "fd_type": 2,
        "fd_name": 3,
        "fd_name_raw": 3,
        "fd_realpath": 3,
    }
    columns = empty_columns()
    for name in EVENT_COLUMNS:
        columns[name].append(facts.get(name, 0))
    for name, value in ((4, 3), (5, 6)):
        columns["arg_name"].append(name)
        columns["arg_value"].append(value)
        columns["arg_raw"].append(0)
    columns["arg_start"].append(2)
    shell = Process(pid=4000, name="bash", exe="bash", exepath="/usr/bin/bash", args=(), uid=0, user="root")
    reader = Process(
        pid=4711,
        ppid=4000,
        name="cat",
        exe="cat",
        exepath="/usr/bin/cat",
        args=("/etc/shadow",),
        cwd="/",
        uid=0,
        gid=0,
        user="root",
        group="root",
        loginuid=-1,
        tty=0,
        parent=0,
    )
    return EventBatch(
        host_id="1",
        hostname="web-3",
        boot_id="1",
        collector_start=1,
        sequence=1,
        created=TIME,
        collector_version="0.1.0",
        kernel="6.1.0",
        first_number=1,
        count=1,
        strings=strings,
        processes=[shell, reader],
        containers=[],
        columns=dict(columns),
    )


def write_recording(path: Path, *batches: EventBatch) -> Path:
    """Write batches to a new recording."""
    writer = RecordingWriter(path)
    for batch in batches:
        writer.write(encode_batch(batch))
    writer.close()
    return path
