"""The changelog of window state: late writes of a hung process, and a deleted topic."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import ConsumerGroupState  # type: ignore[attr-defined]
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from bus.administration import create_missing
from bus.clients.compacted import applied_of, read_tables
from bus.clients.readers import TopicReader, committed
from bus.connection import Connection, client_config
from bus.topics import CORRELATE, CORRELATION_TABLE, DAY_MS, PROCESSOR_GROUP, changelog, plan
from processor.correlation.groups import decode_entry
from processor.output.internal_alerts import EVENTS_LOST, MEMORY_LOST
from tests.cluster.actions import Alerts, rules_file
from tests.cluster.dying_processor import PROGRAM
from tests.cluster.groups import RULES, Groups, assert_equals_oracle, wait_for
from tests.cluster.processes import Processes, Running

PARTITIONS = 8
CHANGELOG = changelog(CORRELATION_TABLE)


def until(question: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def versions_of(connection: Connection) -> dict[bytes, list[int]]:
    """Return, by key, the input offsets of the table's records, in order."""
    reader = TopicReader(connection, connection.topic(CHANGELOG), whole=True)
    found: dict[bytes, list[int]] = {}
    while not reader.has_read_all:
        message = reader.poll(0.2)
        if message is not None:
            found.setdefault(message.key() or b"", []).append(applied_of(message))
    reader.close()
    return found


def positions_of(connection: Connection) -> dict[int, int]:
    """Return the group's committed offsets on the correlate topic."""
    return committed(connection, connection.topic(PROCESSOR_GROUP), connection.topic(CORRELATE), range(PARTITIONS))


def are_applied(connection: Connection, actions: int) -> bool:
    """Return whether the group has applied so many actions; ticks lie between them."""
    reader = TopicReader(connection, connection.topic(CORRELATE), whole=True)
    count, last = 0, dict.fromkeys(range(PARTITIONS), -1)
    while not reader.has_read_all:
        message = reader.poll(0.2)
        if message is not None and message.key() != b"tick":
            count += 1
            last[message.partition() or 0] = message.offset() or 0
    reader.close()
    positions = positions_of(connection)
    return count >= actions and all(positions.get(partition, 0) > offset for partition, offset in last.items())


def test_a_process_that_hung_does_not_undo_what_its_heir_counted(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """State that a hung process writes after losing its partition is ignored."""
    rules = rules_file(tmp_path, RULES)
    hanging = processes.start(connection, "processor", rules=rules, program=(PROGRAM, "alerts sent:1:STOP"))
    hanging.wait_for("evaluating rules:")
    groups = Groups(connection)
    groups.act(1)
    groups.flush()
    until(lambda: is_stopped(hanging.pid), 20, "it never came to that point")
    heir = processes.start(connection, "processor", rules=rules)
    heir.wait_for("evaluating rules:")
    groups.act(1)
    groups.flush()
    until(lambda: are_applied(connection, 32), 40, "nobody took over")
    hanging.signal(signal.SIGCONT)
    until(
        lambda: any(each != sorted(each) for each in versions_of(connection).values()),
        20,
        "what hung wrote nothing that is older",
    )
    until(lambda: is_shared_by_two(connection), 40, "what hung did not come back")
    groups.act(1)
    groups.flush()
    alerts = Alerts(connection)
    wait_for(alerts, groups, 40)
    assert len(groups.expected()) == 16
    assert_equals_oracle(alerts, groups)
    for each in (hanging, heir):
        assert each.stop() == 0, each.errors
        assert "Traceback" not in each.errors
    alerts.close()


def is_shared_by_two(connection: Connection) -> bool:
    """Return whether two processors have divided the partitions."""
    client = AdminClient(client_config(connection, "test"))
    (group,) = client.describe_consumer_groups([connection.topic(PROCESSOR_GROUP)]).values()
    found = group.result(10)
    return found.state == ConsumerGroupState.STABLE and len(found.members) == 2


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("T")


def test_memory_that_is_gone_is_reported_and_nothing_else_is_lost(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """After the topic is recreated, windows start over exactly like an oracle that forgets, reported once."""
    rules = rules_file(tmp_path, RULES)
    groups, actions = Groups(connection), 0

    def work(rounds: int) -> str:
        nonlocal actions
        worker = processes.start(connection, "processor", rules=rules)
        worker.wait_for("evaluating rules:")
        groups.act(rounds)
        groups.flush()
        actions += 16 * rounds
        until(lambda: are_applied(connection, actions), 30, "not all was applied")
        assert worker.stop() == 0, worker.errors
        return worker.errors

    assert "was deleted" not in work(2)
    used = len(positions_of(connection))
    delete(connection, CHANGELOG)
    groups.forget()
    reported = work(3)
    assert "was deleted" in reported
    assert "was deleted" not in work(1)
    alerts = Alerts(connection)
    wait_for(alerts, groups, 20)
    assert_equals_oracle(alerts, groups)
    lost = [alert for alert in alerts.raw if alert.rule == EVENTS_LOST]
    assert [alert.output_fields[MEMORY_LOST] for alert in lost] == [used]
    alerts.close()


def test_a_topic_that_is_made_again_under_a_running_processor_is_written_again(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """One host's action reveals the reset; all state is rewritten, and a new owner continues exactly."""
    rules = rules_file(tmp_path, RULES)
    groups = Groups(connection)
    worker = processes.start(connection, "processor", rules=rules)
    worker.wait_for("evaluating rules:")
    groups.act(2)
    groups.flush()
    until(lambda: sum(owners_of(connection).values()) == 16, 30, "not all windows are there")
    delete(connection, CHANGELOG)
    groups.act(1, hosts=1)
    groups.flush()
    worker.wait_for("was deleted and created again")
    until(lambda: set(owners_of(connection).values()) == {16, 1}, 20, "not all windows were written again")
    worker.kill()
    heir = processes.start(connection, "processor", rules=rules)
    heir.wait_for("evaluating rules:")
    groups.act(1)
    groups.flush()
    alerts = Alerts(connection)
    wait_for(alerts, groups, 40)
    assert len(groups.expected()) == 16
    assert_equals_oracle(alerts, groups)
    assert not [alert for alert in alerts.raw if alert.rule == EVENTS_LOST]
    assert heir.stop() == 0, heir.errors
    assert "Traceback" not in worker.errors + heir.errors
    alerts.close()


def delete(connection: Connection, name: str) -> None:
    """Delete a topic and create it again, as an operator may."""
    client = AdminClient(client_config(connection, "test"))
    for answer in client.delete_topics([connection.topic(name)]).values():
        answer.result(20)
    until(lambda: connection.topic(name) not in client.list_topics(timeout=10).topics, 20, "the topic is still there")
    create_missing(connection, plan(connection.prefix, PARTITIONS, 1, DAY_MS))


STORED_RULE = "Three of a host"
STORED = f"""
- macro: three_of_a_host
  condition: evt.type = openat and fd.name startswith /group/
  correlation: {{type: event_count, group-by: [evt.hostname], timespan: 1h, condition: {{gte: 3}}}}
- rule: {STORED_RULE}
  desc: The third event of a host.
  condition: three_of_a_host
  output: "%correlation.count on %evt.hostname"
  priority: NOTICE
"""


def owners_of(connection: Connection) -> Counter[str]:
    """Count the table's entries by the fingerprint of their macro or rule."""
    tables = read_tables(connection, connection.topic(CHANGELOG), range(PARTITIONS), lambda: False)
    return Counter(decode_entry(blob).owner for table in tables.values() for blob in table.values.values())


def test_windows_of_a_macro_that_is_gone_are_deleted_from_the_topic(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """After rules change while no processor runs, removed keys go and an unchanged macro continues."""
    groups = Groups(connection, hosts=6)

    def work(rules: str, rounds: int) -> Running:
        worker = processes.start(connection, "processor", rules=rules_file(tmp_path, rules))
        worker.wait_for("evaluating rules:")
        groups.act(rounds)
        groups.flush()
        return worker

    worker = work(RULES + STORED, 2)
    until(lambda: sorted(owners_of(connection).values()) == [6, 6], 30, "not both macros have their windows")
    assert worker.stop() == 0, worker.errors
    worker = work(STORED, 0)
    until(lambda: list(owners_of(connection).values()) == [6], 40, "the windows are still there")
    groups.act(1)
    groups.flush()
    alerts = Alerts(connection)
    until(lambda: alerts.read(0.2) or len(of_rule(alerts, STORED_RULE)) == 6, 20, "the other windows were not kept")
    alerts.close()
    assert worker.stop() == 0, worker.errors
    assert "Traceback" not in worker.errors


def of_rule(alerts: Alerts, rule: str) -> set[str]:
    """Return the ids of a rule's alerts."""
    return {alert.id for alert in alerts.raw if alert.rule == rule}
