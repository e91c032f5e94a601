"""An attack for tests: from a shell on one host by ssh to another, where /etc/shadow is read."""

from dataclasses import replace
from typing import Any

from schemas.alert import Alert, alert_id
from schemas.batch import Container, EventBatch
from tests.unit.alerts import alert
from tests.unit.lanner.recorder.tree.incident import MS, TIME, process
from tests.unit.processor.batches import INIT, batch_of

NEAR, FAR = ("10.0.0.1", 41234), ("10.0.0.2", 22)
SECOND = 1000 * MS


def ends(local: tuple[str, int], remote: tuple[str, int]) -> dict[str, Any]:
    """Return the columns of a connection."""
    name = f"{local[0]}:{local[1]}->{remote[0]}:{remote[1]}"
    return {
        "local_ip": local[0],
        "local_port": local[1],
        "remote_ip": remote[0],
        "remote_port": remote[1],
        "fd_name": name,
    }


def near(began: int = TIME) -> EventBatch:
    """Return the events of the host on which it begins. began: ns since the epoch."""
    rows = [INIT, process(800, "sshd", 0), process(900, "bash", 1), process(901, "ssh db-1", 2)]
    events: list[dict[str, Any]] = [
        {"type": "execve", "process": 3, "time": began},
        {"type": "connect", "process": 3, "time": began + MS, **ends(NEAR, FAR)},
        {"type": "openat", "process": 3, "time": began + 2 * MS, "fd_name": "/home/alice/.ssh/id_rsa"},
    ]
    return replace(batch_of(*events, processes=rows, host_id="near", hostname="web-1"), created=began)


def far(peer: tuple[str, int] = NEAR, began: int = TIME) -> EventBatch:
    """Return the events of the host to which it leads; the address of its peer may be an IPv6 form."""
    box = Container(id="0123456789ab", full_id="0" * 64, type="docker", name="gate")
    rows = [
        INIT,
        process(50, "sshd", 0, container=0),
        process(60, "bash", 1, container=0),
        process(61, "cat /etc/shadow", 2, container=0),
        process(70, "cron", 0),
    ]
    own = (f"::ffff:{FAR[0]}", FAR[1]) if peer[0].startswith("::ffff:") else FAR
    events: list[dict[str, Any]] = [
        {"type": "accept4", "process": 1, "time": began + 2 * MS, **ends(own, peer)},
        {"type": "openat", "process": 3, "time": began + SECOND, "fd_name": "/etc/shadow"},
        {"type": "openat", "process": 4, "time": began + SECOND, "fd_name": "/etc/crontab"},
    ]
    batch = batch_of(*events, processes=rows, containers=[box], host_id="far", hostname="db-1", first_number=500)
    return replace(batch, created=began)


def alert_near() -> Alert:
    """Return the alert about the key that ssh read."""
    identity = alert_id(TIME + 2 * MS, "near")
    event = {"evt.num": 3, "proc.pid": 901}
    return alert(id=identity, time=TIME + 2 * MS, host_id="near", hostname="web-1", event=event, rule="Key was read")


def alert_far() -> Alert:
    """Return the alert about the file that was read on the other host."""
    identity = alert_id(TIME + SECOND, "far")
    event = {"evt.num": 501, "evt.type": "openat", "proc.pid": 61, "proc.name": "cat", "fd.name": "/etc/shadow"}
    event |= {"proc.codepath": "/usr/bin/cat"}
    return alert(id=identity, time=TIME + SECOND, host_id="far", hostname="db-1", event=event, rule="Shadow was read")
