"""Observations of processors about hosts: reported as alerts, or summed in the window state until then."""

import time

from bus.clients.compacted import read_tables
from bus.connection import Connection
from bus.topics import CORRELATION_TABLE, changelog
from processor.correlation.groups import decode_entry
from processor.correlation.suppress import Tally
from tests.cluster.actions import Alerts
from tests.cluster.conftest import PARTITIONS


def wait_for_sum(connection: Connection, alerts: Alerts, kind: str, name: str, expected: int, timeout: float) -> None:
    """Wait until the reported and summed counts reach a number, and assert that they don't exceed it.

    Args:
        connection: the broker.
        alerts: what was told so far; it is read on.
        kind: the name of the alerts' rule.
        name: what is counted.
        expected: how many there were.
        timeout: s.
    """
    deadline = time.monotonic() + timeout
    while (found := _reported(alerts, kind, name) + _summed(connection, kind, name)) < expected:
        assert time.monotonic() < deadline, f"{found} of {expected}"
        alerts.read(0.5)
    assert found == expected


def _reported(alerts: Alerts, kind: str, name: str) -> int:
    by_id = {alert.id: alert.output_fields.get(name, 0) for alert in alerts.raw if alert.rule == kind}
    return sum(int(str(number)) for number in by_id.values())


def _summed(connection: Connection, kind: str, name: str) -> int:
    tables = read_tables(connection, connection.topic(changelog(CORRELATION_TABLE)), range(PARTITIONS), lambda: False)
    entries = [decode_entry(blob) for table in tables.values() for blob in table.values.values()]
    return sum(
        each.state.numbers.get(name, 0) for each in entries if isinstance(each.state, Tally) and each.owner == kind
    )
