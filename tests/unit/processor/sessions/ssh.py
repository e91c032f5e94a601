"""Lines of sshd in the journal, and the processes of its sessions, for tests."""

from typing import Any

from lanner.sources.installed import built_in_source
from processor.fields.json.documents import Document, event_of
from schemas.batch import EventBatch, Process
from tests.unit.processor.batches import batch_of

LOGIN = 1_795_602_855_000_000_000
SECOND = 1_000_000_000
KEY = "SHA256:Tm9uZSBvZiB5b3VyIGJ1c2luZXNzLCBpcyBpdD8hIQk"
MACHINE = "0123456789abcdef0123456789abcdef"
ACCEPTED = f"Accepted publickey for alice from 203.0.113.7 port 50022 ssh2: ED25519 {KEY}"


def logged(message: str = ACCEPTED, /, pid: int = 70, **changes: Any) -> Document:
    """Return a line as `journalctl -o json` prints it."""
    document = {
        "MESSAGE": message,
        "SYSLOG_IDENTIFIER": "sshd-session",
        "_PID": str(pid),
        "_UID": "0",
        "_COMM": "sshd-session",
        "_HOSTNAME": "web-1",
        "_MACHINE_ID": MACHINE,
        "_SOURCE_REALTIME_TIMESTAMP": str(LOGIN // 1000),
        "__CURSOR": f"s={pid}",
        **changes,
    }
    return event_of({name: value for name, value in document.items() if value is not None}, 0, None, SSHD_SOURCE)


SEPARATED = ("sshd", "sshd-session", "sshd-session", "bash", "cat")
"""Listener, root's process, the user's, and what the user runs."""
SSHD_SOURCE = built_in_source("sshd")


def acting(seconds: float = 60, *, names: tuple[str, ...] = SEPARATED, **facts: Any) -> EventBatch:
    """Return a batch in which the last of a line of processes opens a file; the second one accepted the login."""
    start = LOGIN - 2 * SECOND
    processes = [
        Process(pid=69 + level, name=name, parent=level - 1, start_time=start + level * 100_000_000)
        for level, name in enumerate(names)
    ]
    event = {"type": "openat", "time": LOGIN + round(seconds * SECOND), "process": len(processes) - 1}
    return batch_of(event, processes=processes, **{"host_id": MACHINE, "hostname": "web-1", **facts})
