import os
from pathlib import Path

from bus.connection import Connection
from bus.topics import EVENTS
from schemas.batch import Process
from schemas.encoding.batch import encode_batch
from tests.cluster.actions import Alerts, Generator, rules_file
from tests.cluster.processes import Processes
from tests.cluster.test_poison import hostile, resident_mib, wait_for_dead_letters
from tests.unit.processor.batches import batch_of


def test_a_look_back_needs_little_memory(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Large batches and compression bombs: a process that takes over holds one fetch at a time."""
    rules = rules_file(tmp_path)
    first = processes.start(connection, "processor", rules=rules)
    first.wait_for("evaluating rules:")
    with hostile(connection) as send:
        for number in range(300):
            noise = os.urandom(400_000).hex()
            name = f"host-{number}"
            rows = [Process(pid=1, name="x", args=(noise,))]
            batch = batch_of({"type": "mkdir", "process": 0}, processes=rows, host_id=name, hostname=name, sequence=1)
            send(EVENTS, encode_batch(batch), key=name.encode())
        for _ in range(3):
            send(EVENTS, bytes(400 << 20), codec="gzip")
    before = resident_mib(first)
    wait_for_dead_letters(connection, first, 3, 120)
    assert first.stop() == 0, first.errors
    generator = Generator(connection)
    second = processes.start(connection, "processor", rules=rules)
    second.wait_for("evaluating rules:")
    generator.act(1)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 60)
    peak = resident_mib(second)
    assert second.stop() == 0, second.errors
    assert peak - before < 200, (before, peak)
    alerts.close()
