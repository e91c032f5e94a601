"""Who is behind a process is known to each processor that comes after the one that found it, on a real broker."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import SESSIONS
from processor.sessions.records import PersonsProcess, SessionRecord, decode_session
from tests.cluster import dying_processor
from tests.cluster.actions import Alerts, Generator, rules_file
from tests.cluster.processes import Processes, Running
from tests.unit.processor.batches import batch_of
from tests.unit.processor.correlation.rules import rule
from tests.unit.processor.detection.requests import line
from tests.unit.processor.sessions import shells, ssh

RULES = rule("evt.type = execve and proc.name = sh", name="Shell") + rule(
    "evt.type = execve and proc.name = id", "found", "suppress: {by: [proc.pid], for: 1h}", name="Look"
)
FILLERS = range(8, 328)
"""Sequence numbers of batches: more than a new owner of a partition reads again."""


def processor(processes: Processes, connection: Connection, folder: Path, dies: str = "") -> Running:
    """Start a processor. dies: where it is killed."""
    program = (dying_processor.PROGRAM, dies) if dies else ()
    made = processes.start(connection, "processor", rules=rules_file(folder, RULES), program=program)
    made.wait_for("evaluating rules: 2 rules")
    return made


def records(connection: Connection) -> list[SessionRecord]:
    """Return what the topic holds."""
    found: list[SessionRecord] = []
    reader, silent_since = TopicReader(connection, connection.topic(SESSIONS), whole=True), time.monotonic()
    while time.monotonic() - silent_since < 1:
        if (message := reader.poll(0.2)) is not None:
            found.append(decode_session(message.value() or b""))
            silent_since = time.monotonic()
    reader.close()
    return found


def fill(generator: Generator, now: float) -> None:
    """Send so many batches of the host that a new owner of its partition does not see its first ones again."""
    event = {"type": "openat", "time": shells.START + round(now * shells.SECOND)}
    for number in FILLERS:
        generator.publish(batch_of(event, host_id="host-1", sequence=number))
    generator.flush()


@pytest.mark.parametrize("dies", ["json results sent:1", "evaluated:1", "results sent:1", ""])
def test_a_person_is_named_whoever_takes_over(
    connection: Connection, processes: Processes, tmp_path: Path, dies: str
) -> None:
    """The processor that learns who it is dies in each gap; the next ones name the person in all later alerts."""
    generator, alerts = Generator(connection), Alerts(connection)
    now = (time.time_ns() - shells.START) / shells.SECOND
    first = processor(processes, connection, tmp_path, dies)
    deadline = time.monotonic() + 90
    generator.send(line(shells.requested(now).document), "x", topic="kubernetes-audit")
    generator.flush()
    while not records(connection):
        assert time.monotonic() < deadline
    if dies.startswith("json"):
        first.result()
        first = processor(processes, connection, tmp_path)
    generator.publish(shells.started(now + 1))
    generator.flush()
    if dies and not dies.startswith("json"):
        first.result()
        first = processor(processes, connection, tmp_path)
    while not any(isinstance(each, PersonsProcess) for each in records(connection)):
        assert time.monotonic() < deadline
    fill(generator, now + 2)
    first.kill()

    second = processor(processes, connection, tmp_path)
    generator.publish(replace(shells.started(now + 3, depth=2), sequence=FILLERS.stop))
    look = shells.started(now + 4, depth=2)
    look.processes[-1] = replace(look.processes[-1], name="id")
    generator.publish(replace(look, sequence=FILLERS.stop + 1))
    # Nobody requested it: the request has its process.
    generator.publish(replace(shells.started(now + 2, pid=11), sequence=FILLERS.stop + 2))
    generator.flush()
    while len({alert.id for alert in alerts.raw}) < 4:
        assert time.monotonic() < deadline + 60, [alert.event.get("proc.pid") for alert in alerts.raw]
        alerts.read(0.5)

    named = {(alert.rule, alert.event["proc.pid"], alert.output_fields.get("session.user")) for alert in alerts.raw}
    assert named == {("Shell", 10, "eve"), ("Shell", 101, "eve"), ("Look", 101, "eve"), ("Shell", 11, None)}
    assert second.stop() == 0
    alerts.close()


def test_a_login_by_ssh_is_known_to_the_processors_that_come_after(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The one that read sshd's line is killed, and its topic is not read again."""
    admin = AdminClient({"bootstrap.servers": connection.bootstrap_servers})
    (created,) = admin.create_topics([NewTopic(f"{connection.prefix}sshd-log", 1, 1)]).values()
    created.result(30)
    rules = rules_file(tmp_path, rule("evt.type = openat and proc.name = cat", name="Read"))
    sources = f'json_sources=[{{"source": "sshd", "topic": "{connection.prefix}sshd-log"}}]'
    generator, alerts = Generator(connection), Alerts(connection)
    now = time.time_ns()
    first = processes.start(connection, "processor", "-o", sources, rules=rules)
    first.wait_for("evaluating rules: 1 rule")
    accepted = ssh.logged(_SOURCE_REALTIME_TIMESTAMP=str(now // 1000))
    for number in range(3):
        generator.send(line(accepted.document | {"MESSAGE": f"Connection {number} closed"}), "x", topic="sshd-log")
    generator.send(line(accepted.document), "x", topic="sshd-log")
    generator.flush()
    deadline = time.monotonic() + 60
    while not records(connection):
        assert time.monotonic() < deadline
    first.kill()

    processes.start(connection, "processor", "-o", sources, rules=rules).wait_for("evaluating rules: 1 rule")
    batch = ssh.acting((now - ssh.LOGIN) / ssh.SECOND + 1)
    batch.processes = [replace(each, start_time=now - ssh.SECOND) for each in batch.processes]
    generator.publish(batch)
    generator.flush()
    while not alerts.raw:
        assert time.monotonic() < deadline + 60
        alerts.read(0.5)

    assert alerts.raw[0].output_fields["session.user"] == "alice"
    assert alerts.raw[0].output_fields["session.key"] == ssh.KEY
    alerts.close()
