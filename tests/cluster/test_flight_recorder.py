"""The flight recorder on a real broker: context of alerts, backtests, and hosts."""

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.clients.history import TopicHistory, stamp_of
from bus.connection import Connection
from bus.messages import partition_of
from bus.topics import ALERTS, EVENTS
from lanner.recorder import hosts
from tests.cluster.actions import RULE, RULES, Alerts, Generator, rules_file
from tests.cluster.conftest import PARTITIONS
from tests.cluster.processes import Processes, Running

DRAFT = """
- rule: Draft
  desc: A wider rule than the one that was in force.
  condition: evt.type in (openat, ptrace) and fd.name endswith "1"
  output: draft %fd.name
  priority: WARNING
"""


def lines(running: Running) -> list[str]:
    """Return the output of a command; assert that it succeeded."""
    assert running.result() == 0, running.errors
    return running.output.splitlines()


def objects(running: Running) -> list[dict[str, Any]]:
    """Return the JSON objects that a command printed."""
    return [json.loads(line) for line in lines(running)]


def assert_in_place(tree: list[str], alert: dict[str, Any], others: list[dict[str, Any]]) -> None:
    """Assert that the event of an alert is marked in a tree, and that other alerts are below their events."""
    (at,) = (number for number, line in enumerate(tree) if line.lstrip("│ ").startswith("> "))
    assert alert["output_fields"]["fd.name"] in tree[at]
    assert tree[at + 1].endswith(f"! {alert['priority']} {RULE} (this alert)")
    for other in others:
        (at,) = (
            number for number, line in enumerate(tree) if line.endswith(f"! {other['priority']} {RULE} ({other['id']})")
        )
        assert other["output_fields"]["fd.name"] in tree[at - 1]


def assert_marked(shown: list[str], alert: dict[str, Any]) -> None:
    """Assert that a list has the event of an alert, marked, and those of three others."""
    marked = [line for line in shown if line.startswith("> ")]
    assert [alert["output_fields"]["fd.name"] in line for line in marked] == [True]
    names = [line for line in shown if "/marked/" in line and line.startswith(("> ", "  "))]
    assert len(names) == 4


def assert_matches(processes: Processes, connection: Connection, identity: str, rules: Path) -> None:
    """Assert that an alert's whole event is found, and that the rule matches it."""
    explained = lines(processes.start(connection, "rules", "explain", RULE, "--event-id", identity, rules=rules))
    assert explained[0].startswith(f"{RULE} (")
    assert explained[0].endswith(":2) matches")


def test_what_was_stored_around_an_alert_and_by_a_draft(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Alerts are listed, the alert's event is marked, a draft is evaluated, and nothing is published."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    generator = Generator(connection, hosts=3)
    host = generator.hosts[1]
    first = host.batch()
    generator.publish(replace(first, watched=["execve"], narrowed=["openat"]))
    generator.act(3)
    host.sequence += 2
    generator.publish(replace(host.batch("last"), lost={"events_ring_full": 5}))
    generator.actions.append("last")
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    assert processor.stop() == 0, processor.errors

    listed = objects(processes.start(connection, "alerts", "list", "--format", "json", "--rule", "Marked*"))
    found = sorted(row["output_fields"]["fd.name"].removeprefix("/marked/") for row in listed)
    assert found == sorted(generator.actions)
    options = ("--format", "json", "--host", host.name, "--priority", "notice")
    mine = [row for row in objects(processes.start(connection, "alerts", "list", *options)) if row["rule"] == RULE]
    assert len(mine) == 4
    none = processes.start(connection, "alerts", "list", "--priority", "critical")
    assert lines(none) == []
    assert "no stored alert matches" in none.errors

    tree = lines(processes.start(connection, "context", mine[1]["id"]))
    assert_in_place(tree, mine[1], [each for each in mine if each is not mine[1]])

    shown = lines(processes.start(connection, "context", mine[1]["id"], "--flat"))
    assert_marked(shown, mine[1])
    reported = "\n".join(shown)
    assert f"# {host.name}: 104 events in 5 batches of this time." in reported
    assert "Collected in full: execve. No other event types were collected." in reported
    assert "Collected only if a rule at that time could match: openat." in reported
    assert "5 events were lost (events_ring_full: 5)." in reported
    assert "2 batches are missing (numbers 5 to 6)." in reported

    assert_matches(processes, connection, mine[1]["id"], rules_file(tmp_path))

    ends = TopicHistory(connection, connection.topic(ALERTS)).available
    draft = tmp_path / "draft.yaml"
    draft.write_text(DRAFT)
    backtest_options = ("--since", "1h", "--format", "json", "--host", "host-[12]")
    (found,) = objects(processes.start(connection, "rules", "backtest", "--topic", *backtest_options, rules=draft))
    drafted = [act for act in generator.actions if act.startswith(("host-1", "host-2")) and act.endswith("1")]
    expected = Counter(act[:6] for act in drafted)
    assert Counter(host for row in found["found"] for host in Counter(row["by_host"]).elements()) == expected
    assert found["hosts"] == 2
    assert "not collected, because no rule at that time needed it: ptrace (host-1)" in found["not_seen"]
    assert "unknown which events were collected (host-2)" in found["not_seen"]
    assert "lost: 5 events (host-1)" in found["not_seen"]
    table = lines(processes.start(connection, "rules", "backtest", "--topic", rules=rules_file(tmp_path, RULES)))
    assert int(next(line for line in table if line.startswith("Marked action")).split()[3]) == len(generator.actions)
    assert TopicHistory(connection, connection.topic(ALERTS)).available == ends
    alerts.close()


def test_hosts_are_listed_with_the_silent_first(connection: Connection, processes: Processes) -> None:
    """A stopped host is not silent; --check reports through its exit code, and `status` why detection isn't current."""
    generator = Generator(connection, hosts=3)
    generator.act(1)
    stopped, silent, live = generator.hosts
    generator.publish(replace(stopped.batch(), stopping=True))
    generator.flush()
    soon = ("-o", "hosts.silent_seconds=5")
    fine = processes.start(connection, "hosts", "--check")
    assert lines(fine) == []
    time.sleep(5.5)
    generator.publish(replace(live.batch(), lost={"spool_full": 7}))
    generator.flush()
    rows = objects(processes.start(connection, "hosts", "--format", "json", *soon))
    assert [(row["host"], row["state"]) for row in rows] == [
        (silent.name, "silent"),
        (stopped.name, "stopped"),
        (live.name, "live"),
    ]
    assert (rows[2]["kernel"], rows[2]["lost"]) == ("6.18", 7)
    generator.publish(live.batch())
    generator.flush()
    check = processes.start(connection, "hosts", "--check", *soon)
    assert check.result() == 1
    assert silent.name in check.output
    assert live.name not in check.output
    assert "1 of 3 hosts are silent" in check.errors
    status = processes.start(connection, "status", "--format", "json", *soon)
    assert status.result() == 1
    problems = [(each["subject"], each["name"]) for each in json.loads(status.output)["findings"] if each["is_problem"]]
    assert problems == [("evaluation", "events"), ("host", silent.name), ("host", live.name)]
    assert "lost 7 events in the last minute: 7 spool_full" in status.output
    header = lines(processes.start(connection, "hosts"))[0].split()
    assert header == ["HOST", "SEEN", "VERSION", "KERNEL", "LOST", "LAG", "RULES"]


def test_hosts_of_a_large_fleet_are_found_in_parts_of_the_topic(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest batches are read in full, and those before them for hosts that are not among them."""
    monkeypatch.setattr(hosts, "_FEW", 0)
    monkeypatch.setattr(hosts, "_LOOK_MS", 1_000)
    generator = Generator(connection, hosts=2)
    quiet, live = generator.hosts
    for host, losses in ((quiet, 1), (live, 2)):
        generator.publish(replace(host.batch(), lost={"spool_full": losses}))
    generator.flush()
    time.sleep(1.5)
    generator.publish(replace(live.batch(), lost={"spool_full": 4}))
    generator.flush()
    found = hosts.find_hosts(connection, time.time_ns() // 1_000_000, lambda: False, lambda _: None)
    assert {host.name: host.lost for host in found} == {quiet.name: 1, live.name: 4}
    assert len({host.seen for host in found}) == 2


def test_hosts_that_fell_silent_long_ago_are_searched_for_together(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is found with its last batch, without several reads for each of them."""
    ages = (4_000, 8_000, 16_000, 32_000)
    for name, value in (("_FEW", 0), ("_LOOK_MS", 2_000), ("LOSSES_MS", 3_000), ("_AGES_MS", ages)):
        monkeypatch.setattr(hosts, name, value)
    generator = Generator(connection, hosts=9)
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < 20:
        # Five of nine fall silent after 8 seconds, three after 12.
        for host in generator.hosts[0 if elapsed < 8 else 5 if elapsed < 12 else 8 :]:
            generator.publish(host.batch())
        generator.flush()
        time.sleep(0.25)
    past = TopicHistory(connection, connection.topic(EVENTS))
    last = {message.key(): stamp_of(message) for message in past.read(past.between(0, None), lambda: False)}
    past.close()
    reads = []
    between = hosts._Looks.between

    def counted(look: hosts._Looks, *arguments: Any, **options: Any) -> Any:
        reads.append(arguments)
        return between(look, *arguments, **options)

    monkeypatch.setattr(hosts._Looks, "between", counted)
    found = hosts.find_hosts(connection, time.time_ns() // 1_000_000, lambda: False, lambda _: None)
    assert {host.id.encode(): host.seen for host in found} == last
    assert len(reads) < 3 * len(found)


def test_a_stretch_is_read_in_the_brokers_order(connection: Connection) -> None:
    """All partitions are read, but no more than requested, and each key is in its hash's partition."""
    generator = Generator(connection, hosts=16)
    generator.act(20)
    generator.flush()
    past = TopicHistory(connection, connection.topic(EVENTS))
    generator.act(5)
    generator.flush()
    read = list(past.read_in_order(past.between(0, None), lambda: False))
    assert len(read) == 16 * 20
    stamps = [stamp_of(message) for message in read]
    assert stamps == sorted(stamps)
    assert {message.key(): message.partition() for message in read} == {
        host.name.encode(): partition_of(host.name.encode(), PARTITIONS) for host in generator.hosts
    }
    middle = stamps[100]
    late = list(past.read(past.between(middle, None), lambda: False))
    assert sorted(map(stamp_of, late)) == [stamp for stamp in stamps if stamp >= middle]
    assert list(past.read(past.between(stamps[-1] + 60_000, None), lambda: False)) == []
    past.close()


def test_ranges_are_read_in_full_after_one_that_was_not_read_to_its_end(connection: Connection) -> None:
    """A partition that was paused when a reader lost interest, or that ended, is read again, however often."""
    generator = Generator(connection, hosts=1)
    generator.act(600)
    generator.flush()
    past = TopicHistory(connection, connection.topic(EVENTS))
    whole = past.between(0, None)
    assert next(past.read_in_order(whole, lambda: False)).offset() == 0
    assert len(list(past.read_in_order(whole, lambda: False))) == 600
    for _ in range(20):
        assert len(list(past.read(whole, lambda: False))) == 600
    past.close()
