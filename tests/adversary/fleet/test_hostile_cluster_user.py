"""A user of a Kubernetes cluster, who chooses what is in the requests, tries to have them skipped."""

import gzip
import time
from pathlib import Path

from bus.connection import Connection
from bus.topics import PROCESSOR_DEAD_LETTERS
from processor.output.internal_alerts import EVENT_TRUNCATED
from tests.cluster.actions import Alerts
from tests.cluster.conftest import connection, processes
from tests.cluster.processes import Processes
from tests.cluster.test_audit_intake import post, processor, start
from tests.cluster.test_dead_letters import everything
from tests.unit.processor.detection.requests import line, request

__all__ = ["connection", "processes"]

HIDING = {
    "nested": b"[" * 130 + b"1" + b"]" * 130,
    "nested-like-nothing-else": b'{"a":' * 9_990 + b"1" + b"}" * 9_990,
    "long": b'"%s"' % (rb"\u003c" * (3 << 20)),
    "wide": b"[%s1]" % (b"[]," * (1 << 20)),
}
"""By user, what the user puts into an object: an API server writes 3 MiB of < as 18 MiB."""


def hidden(user: str) -> bytes:
    """Return a user's request for a secret."""
    found = line(request(auditID=user, user={"username": user}, requestObject={"x": "HIDING"}, responseObject={"a": 1}))
    return found.replace(b'"HIDING"', HIDING[user])


def test_a_user_hides_no_request_by_nesting_it_or_by_its_size(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """From a file or in a list of 9 MB; those of others beside it are evaluated as well, and nothing is refused."""
    log = tmp_path / "audit.log"
    log.write_bytes(b"".join(hidden(user) + line(request(auditID=f"after-{user}")) for user in HIDING))
    processor(processes, connection, tmp_path)
    start(processes, connection, tmp_path, "--file", log)
    intake = start(processes, connection, tmp_path, "--listen", "127.0.0.1:0")
    posted = {"nested-like-nothing-else": 100, "wide": 1}
    events = [
        hidden(user).replace(b'"auditID": "', b'"auditID": "posted-%d-' % n)
        for user in posted
        for n in range(posted[user])
    ]
    body = b'{"items": [%s]}' % b",".join([*events, line(request(auditID="posted"))])
    assert post(intake, gzip.compress(body), {"Content-Encoding": "gzip"})[0] == 200
    ids = {"posted", *HIDING, *(f"after-{user}" for user in HIDING)}
    ids |= {f"posted-{number}-{user}" for user, count in posted.items() for number in range(count)}

    alerts = Alerts(connection)
    deadline = time.monotonic() + 60
    while True:
        alerts.read(0.5)
        found = {str(each.event["ka.auditid"]): each for each in alerts.raw if each.source != "internal"}
        reported = {each.output.partition("; by ")[2] for each in alerts.raw if each.rule == EVENT_TRUNCATED}
        if ids <= found.keys() and len(reported) >= len(HIDING):
            break
        assert time.monotonic() < deadline, (sorted(ids - found.keys())[:5], reported)
    alerts.close()
    assert found.keys() == ids
    assert {name for name, each in found.items() if each.event.get("json.truncated")} == {
        name for name in ids if name.endswith(tuple(HIDING)) and not name.startswith("after")
    }
    assert {each.partition(" | ")[0] for each in reported} == {f"{user}: get secrets prod/db" for user in HIDING}
    assert everything(connection, PROCESSOR_DEAD_LETTERS) == []
