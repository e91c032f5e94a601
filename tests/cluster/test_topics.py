import json
import uuid
from dataclasses import replace
from pathlib import Path

from bus.administration import Administration, create_missing
from bus.connection import Connection
from bus.topics import DAY_MS, TOPICS, plan
from tests.cluster import hasty
from tests.cluster.actions import rules_file
from tests.cluster.broker import Broker
from tests.cluster.processes import Processes
from tests.ports import free_ports

CREATE = ("topics", "create", "--replication-factor", "1")


def fresh(broker: Broker) -> Connection:
    """Return an unused prefix."""
    return Connection(bootstrap_servers=broker.address, prefix=f"t{uuid.uuid4().hex[:8]}.")


def test_creating_twice_is_creating_once(broker: Broker, processes: Processes) -> None:
    """A dry run creates nothing, the first run everything, and the second nothing more."""
    connection = fresh(broker)
    names = [connection.topic(kind.name) for kind in TOPICS]
    dry = processes.start(connection, *CREATE, "--partitions", "4", "--events-retention", "36h", "--dry-run")
    assert dry.result() == 0, dry.errors
    assert "would create" in dry.output
    administration = Administration(connection)
    assert administration.states(names) == {}
    for expected in ("created", "exists"):
        run = processes.start(connection, *CREATE, "--partitions", "4", "--events-retention", "36h", "--format", "json")
        assert run.result() == 0, run.errors
        assert {row["state"] for row in json.loads(run.output)} == {expected}
    states = administration.states(names)
    assert len(states) == len(TOPICS)
    events = states[connection.topic("events")]
    assert (events.partitions, events.cleanup, events.retention_ms) == (4, "delete", 36 * 3_600_000)
    changelog = states[connection.topic("processor-correlation-changelog")]
    assert (changelog.partitions, changelog.cleanup) == (4, "compact")
    assert states[connection.topic("rules")].partitions == 1


def test_another_number_of_partitions_is_refused(broker: Broker, processes: Processes) -> None:
    """Existing topics are never changed; the message gives their state and the remedy."""
    connection = fresh(broker)
    assert processes.start(connection, *CREATE, "--partitions", "4").result() == 0
    run = processes.start(connection, *CREATE, "--partitions", "6")
    assert run.result() == 1
    assert f"topic {connection.prefix}events has 4 partitions, not 6: use --partitions 4" in run.errors


def test_a_processor_refuses_topics_that_are_wrong(broker: Broker, processes: Processes, tmp_path: Path) -> None:
    """Missing topics, and wrong partitions, policies or timestamps, are reported before the start."""
    connection = fresh(broker)
    plans = {each.kind.name: each for each in plan(connection.prefix, 4, 1, DAY_MS)}
    others = {each.kind.name: each for each in plan(connection.prefix, 3, 1, DAY_MS)}
    unstamped = replace(plans["events"], config={**plans["events"].config, "message.timestamp.type": "CreateTime"})
    wrong = [
        unstamped,
        others["correlate"],
        *(each for name, each in plans.items() if name not in ("events", "correlate", "alerts", "rules")),
    ]
    create_missing(connection, wrong)
    rules = type(plans["rules"])(
        plans["rules"].kind, plans["rules"].name, 1, 1, {**plans["rules"].config, "cleanup.policy": "delete"}
    )
    create_missing(connection, [rules])
    run = processes.start(connection, "processor", rules=rules_file(tmp_path))
    assert run.result() == 1
    prefix = connection.prefix
    assert f"topic {prefix}correlate has 3 partitions and must have 4, as {prefix}events has" in run.errors
    assert f"topic {prefix}events has message.timestamp.type=CreateTime and must have LogAppendTime" in run.errors
    assert f"topic {prefix}alerts does not exist" in run.errors
    assert f"topic {prefix}rules has cleanup.policy=delete and must have compact" in run.errors
    assert "lanner topics create" in run.errors


def test_a_broker_that_is_not_there_is_reported(processes: Processes) -> None:
    """Each command that needs a broker exits with 3, the address and the remedy."""
    (port,) = free_ports(1)
    connection = Connection(bootstrap_servers=f"127.0.0.1:{port}")
    runs = [
        processes.start(connection, *CREATE, "--partitions", "4"),
        processes.start(connection, "alerts", "tail"),
        processes.start(connection, "rules", "status"),
    ]
    for run in runs:
        assert run.result() == 3, run.errors
        assert f"127.0.0.1:{port}" in run.errors
        assert "check kafka.bootstrap_servers" in run.errors
        assert "Traceback" not in run.errors


def test_a_stage_waits_for_a_broker_that_is_not_there_yet(
    own_broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """A stage reports that it waits for the broker or for topics, and then starts."""
    own_broker.stop()
    connection = fresh(own_broker)
    state = ("-o", f"notifier.state_dir={tmp_path / 'state'}")
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    notifier = processes.start(connection, "notifier", "stdout", *state)
    for each in (processor, notifier):
        each.wait_for("The start is waiting")
        assert "check kafka.bootstrap_servers" in each.errors
    own_broker.start()
    create_missing(connection, plan(connection.prefix, 4, 1, DAY_MS))
    processor.wait_for("evaluating rules:")
    notifier.wait_for("go to stdout")
    for each in (processor, notifier):
        assert "The start continues after" in each.errors
        assert each.stop() == 0, each.errors


def test_a_stage_without_its_topics_ends_after_a_while(broker: Broker, processes: Processes, tmp_path: Path) -> None:
    """Missing topics are retried, since a restarted broker may not know them; both messages name them."""
    connection = fresh(broker)
    run = processes.start(connection, "processor", rules=rules_file(tmp_path), program=(hasty.PROGRAM,))
    run.wait_for(f"topic {connection.prefix}events does not exist, nor do ")
    assert "`lanner topics create`" in run.errors
    assert run.result() == 1
    assert f"topic {connection.prefix}alerts does not exist." in run.errors
