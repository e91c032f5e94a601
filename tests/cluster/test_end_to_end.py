from pathlib import Path

from bus.connection import Connection
from tests.cluster.actions import Alerts, Generator, assert_exact, rules_file
from tests.cluster.processes import Processes


def test_batches_become_alerts(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Each action has one alert within seconds, and a clean restart repeats none."""
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path))
    processor.wait_for("evaluating rules:")
    generator = Generator(connection)
    generator.act(5)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), 30)
    assert processor.stop() == 0, processor.errors
    restarted = processes.start(connection, "processor", rules=rules_file(tmp_path))
    restarted.wait_for("evaluating rules:")
    alerts.read(3)
    assert restarted.stop() == 0
    assert assert_exact(generator.actions, alerts) == 0
    assert "Traceback" not in processor.errors + restarted.errors
    alerts.close()
