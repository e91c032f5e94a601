"""On how many hosts of a fleet a program was seen, although a processor dies while it counts."""

import time
from dataclasses import replace
from pathlib import Path

from schemas.batch import ProgramFile
from tests.cluster.actions import Alerts, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.identities import SigningHost
from tests.cluster.processes import Processes
from tests.unit.processor.batches import INIT, batch_of

RULE = "Program of one host"
RULES = f"""
- macro: program_of_one_host
  condition: evt.type in (openat, connect)
  correlation: {{type: prevalence, group-by: [proc.exe.sha256], lookback: 7d, learning: 1s, condition: {{lt: 2}}}}
- rule: {RULE}
  desc: A program connects that no other host has run.
  condition: evt.type = connect and program_of_one_host
  output: "%proc.exe.sha256 on %proc.exe.hosts"
  priority: NOTICE
"""
DIGESTS = [f"digest {number}" for number in range(10)]


def test_programs_of_two_hosts_are_counted_although_a_processor_dies(
    broker: Broker, processes: Processes, tmp_path: Path
) -> None:
    """It is killed while it counts; its heir reports the programs that one host has, once each."""
    connection, rules = with_topics(broker, 1), rules_file(tmp_path, RULES)
    one, other = (SigningHost(connection, name, tmp_path) for name in ("one", "other"))
    alerts, deadline = Alerts(connection), time.monotonic() + 60

    def act(host: SigningHost, event: str, *digests: str) -> None:
        for digest in digests:
            host.sequence += 1
            ids = {"host_id": host.name, "hostname": host.name, "collector_start": 1, "sequence": host.sequence}
            program = [replace(INIT, file=ProgramFile(digest))]
            made = batch_of({"type": event, "time": time.time_ns()}, processes=program, boot_id="boot-1", **ids)
            host.publisher.publish(made)
        while host.publisher.has_waiting:
            host.publisher.poll(0.05)

    owner = processes.start(connection, "processor", rules=rules)
    owner.wait_for("evaluating rules:")
    act(one, "openat", "begins to learn")
    time.sleep(1.1)
    act(one, "openat", *DIGESTS)
    act(one, "connect", "known to one")
    while not alerts.raw and time.monotonic() < deadline:
        alerts.read(0.1)
    act(other, "openat", *DIGESTS[5:])
    owner.kill()

    heir = processes.start(connection, "processor", rules=rules)
    act(one, "connect", *DIGESTS)
    while len({alert.id for alert in alerts.raw}) < 6 and time.monotonic() < deadline:
        alerts.read(0.1)
    alerts.read(0.5)
    assert heir.stop() == 0, heir.errors
    found = {alert.id: alert.output.partition(" container")[0] for alert in alerts.raw if alert.rule == RULE}
    assert sorted(found.values()) == [*(f"{digest} on 1" for digest in DIGESTS[:5]), "known to one on 1"]
    assert "Traceback" not in heir.errors
    for host in (one, other):
        assert host.stop() == 0
    alerts.close()
