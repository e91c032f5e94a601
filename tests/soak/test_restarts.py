"""A broker that restarts two hundred times in a row."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.cluster.broker import Broker
from tests.cluster.conftest import own_broker, processes, stoppable
from tests.cluster.processes import Processes
from tests.cluster.restarts import cpu_load, restart_often

__all__ = ["own_broker", "processes", "stoppable"]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]

RESTARTS = max(2, round(200 * float(os.environ.get("LANNER_SOAK_SHARE", "1"))))


def test_a_broker_that_restarts_all_the_time(
    own_broker: Broker, processes: Processes, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """On a busy machine, every action has one alert, delivered once, and no process exits."""
    with cpu_load(os.cpu_count() or 2):
        account = restart_often(own_broker, processes, tmp_path, RESTARTS, pause=0.2)
    record_property("restarts", RESTARTS)
    for name, value in asdict(account).items():
        record_property(name, value)
