from pathlib import Path

import pytest

from bus.connection import Connection
from tests.cluster.actions import Alerts, Generator, assert_exact, rules_file
from tests.cluster.broken_client import FAULTS
from tests.cluster.correlate_oracle import WITH_MEMORY
from tests.cluster.processes import Processes


@pytest.mark.parametrize("where", FAULTS)
def test_a_client_that_fails_in_an_unexpected_way_ends_nothing(
    connection: Connection, processes: Processes, tmp_path: Path, where: str
) -> None:
    """Errors that would end or hang Faust are survived, and each action has one alert."""
    program = (str(Path(__file__).with_name("broken_client.py")), where)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, WITH_MEMORY), program=program)
    generator, alerts = Generator(connection, hosts=4), Alerts(connection)
    processor.wait_for("evaluating rules:")
    for _ in range(20):
        generator.act(1)
        alerts.read(0.2)
    generator.flush()
    alerts.wait_for(len(generator.actions), 60)
    assert processor.is_alive, processor.errors
    # The client begins again by itself without positions, and without a heartbeat the group is joined again.
    silent = ("revoked", "gone", "no topics", "unreported topics", "positions", "canceled seek", "canceled heartbeat")
    unreported = dict.fromkeys(silent, "")
    reported = (unreported | {"skipped": "is read again from offset"}).get(where, "is waiting")
    assert reported in processor.errors, processor.errors
    assert processor.stop() == 0, processor.errors
    alerts.read(1)
    assert_exact(generator.actions, alerts)
    alerts.close()
