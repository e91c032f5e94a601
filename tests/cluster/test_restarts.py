import sys
from pathlib import Path

import pytest

from tests.cluster.broker import Broker
from tests.cluster.processes import Processes
from tests.cluster.restarts import cpu_load, restart_often


@pytest.mark.timeout(600)
def test_a_broker_that_restarts_ends_nothing(own_broker: Broker, processes: Processes, tmp_path: Path) -> None:
    """After three restarts on a busy machine every action has one alert, delivered once, and no process has exited."""
    with cpu_load(1):
        # What a host has waiting after half a minute is within its budget for stateful rules.
        account = restart_often(own_broker, processes, tmp_path, 3, pause=0.4)
    sys.stdout.write(f"{account}\n")
