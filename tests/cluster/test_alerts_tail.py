import json
import time
from pathlib import Path

from bus.connection import Connection
from tests.cluster.actions import Generator, rules_file
from tests.cluster.processes import Processes


def test_tail_prints_alerts_as_they_come(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Lines equal those of `lanner run`, other hosts are left out, and SIGTERM ends it with 0."""
    tail = processes.start(connection, "alerts", "tail", "--format", "json", "--host", "host-1")
    tail.wait_for("alerts from")
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    generator = Generator(connection, hosts=3)
    generator.act(3)
    generator.flush()
    deadline = time.monotonic() + 40
    while tail.output.count("\n") < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = [json.loads(line) for line in tail.output.splitlines()]
    assert [line["output_fields"]["fd.name"] for line in lines] == [f"/marked/host-1-{number}" for number in (1, 2, 3)]
    assert {line["hostname"] for line in lines} == {"host-1"}
    assert tail.stop() == 0
    assert processor.stop() == 0
