"""Publish rules, and wait for what follows."""

import time
from collections.abc import Callable
from pathlib import Path

from bus.clients.compacted import read_topics
from bus.connection import Connection
from bus.published_rules import current
from bus.topics import PUSHDOWN_FILTERS
from schemas.alert import Alert
from schemas.filter import BadFilter, decode_filter
from schemas.published_rules import decode_rules
from tests.cluster.actions import RULE, Alerts
from tests.cluster.processes import Processes

CHANGED, REFUSED = "Lanner internal: rules changed", "Lanner internal: rules refused"
MARKED = f"""
- rule: {RULE}
  desc: An action of the generator.
  condition: evt.type = openat and fd.name startswith /marked/
  output: action %fd.name on %evt.hostname
  priority: NOTICE
"""
OTHER = """
- rule: Another
  desc: Something else.
  condition: evt.type = openat and fd.name = /another
  output: another
  priority: NOTICE
"""


def publish(processes: Processes, connection: Connection, *arguments: str | Path, code: int = 0) -> str:
    """Publish rules and return their version."""
    run = processes.start(connection, "rules", "publish", *arguments, "--yes")
    assert run.result() == code, run.output + run.errors
    message = current(connection)
    return decode_rules(message.value() or b"").version if message is not None else ""


def until(holds: Callable[[], bool], what: str, timeout: float = 40) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def named(alerts: Alerts, rule: str) -> dict[str, Alert]:
    """Return the alerts of a rule by id."""
    return {alert.id: alert for alert in alerts.raw if alert.rule == rule}


def filter_of(connection: Connection, version: str) -> int:
    """Count the event types of a version; None if it can't be read."""
    message = read_topics(connection, [PUSHDOWN_FILTERS])[PUSHDOWN_FILTERS].get(version.encode())
    try:
        return 0 if message is None else len(decode_filter(message.value() or b"").events)
    except BadFilter:
        return 0
