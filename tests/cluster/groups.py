"""Actions in groups of five, a rule that fires at the third of a group, and an oracle."""

import time
from collections import Counter

from bus.connection import Connection
from schemas.alert import Alert
from tests.cluster.actions import Alerts, Generator, Host
from tests.unit.processor.batches import batch_of

RULE = "Three of a group"
GROUP = 5
THRESHOLD = 3
RULES = f"""
- macro: three_of_a_group
  condition: evt.type = openat and fd.name startswith /group/
  correlation:
    type: event_count
    group-by: [fd.name]
    timespan: 1h
    condition: {{gte: {THRESHOLD}}}
- rule: {RULE}
  desc: The third event of a group.
  condition: three_of_a_group
  output: "%correlation.count of %fd.name, the last %fd.nameraw"
  priority: NOTICE
"""


class Groups:
    """Generates actions in groups of five, and records them to compute the expected alerts."""

    def __init__(self, connection: Connection, hosts: int = 16) -> None:
        self._generator = Generator(connection, hosts=hosts)
        self._actions: dict[str, list[str]] = {}

    def act(self, rounds: int, hosts: int | None = None) -> None:
        """Generate actions of every host, or of the first `hosts`."""
        for _ in range(rounds):
            for host in self._generator.hosts[:hosts]:
                self._act(host)

    def flush(self) -> None:
        """Wait until the broker has all messages."""
        self._generator.flush()

    def forget(self) -> None:
        """Forget the actions so far, as when window state is lost."""
        self._actions = {group: [] for group in self._actions}

    def expected(self) -> dict[str, str]:
        """Return, by group, the action that completes it."""
        return {group: actions[THRESHOLD - 1] for group, actions in self._actions.items() if len(actions) >= THRESHOLD}

    def _act(self, host: Host) -> None:
        host.sequence += 1
        group = f"/group/{host.name}-{(host.sequence - 1) // GROUP}"
        mark = f"{host.name}-{host.sequence}"
        event = {"type": "openat", "fd_name": group, "fd_name_raw": mark, "time": time.time_ns()}
        self._generator.publish(
            batch_of(event, host_id=host.name, hostname=host.name, collector_start=1, sequence=host.sequence)
        )
        self._actions.setdefault(group, []).append(mark)


def found_in(alerts: Alerts) -> dict[str, Counter[tuple[str, str]]]:
    """Return, by group, action and id of each alert, and how often it was received."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for alert in alerts.raw:
        if alert.rule == RULE:
            found.setdefault(str(alert.event["fd.name"]), Counter())[_mark(alert), alert.id] += 1
    return found


def _mark(alert: Alert) -> str:
    return str(alert.event["fd.nameraw"])


def wait_for(alerts: Alerts, groups: Groups, timeout: float) -> None:
    """Read alerts until every expected one has arrived, and for one more second."""
    deadline = time.monotonic() + timeout
    while missing := set(groups.expected()) - set(found_in(alerts)):
        assert time.monotonic() < deadline, f"{len(missing)} groups without an alert, such as {sorted(missing)[:5]}"
        alerts.read(0.5)
    alerts.read(1)


def assert_equals_oracle(alerts: Alerts, groups: Groups) -> None:
    """Assert that each group has one alert id, for the action at which the oracle counts three."""
    found = {group: sorted(ids) for group, ids in found_in(alerts).items()}
    owed = groups.expected()
    wrong = {group: (found.get(group), owed.get(group)) for group in found | owed}
    wrong = {group: pair for group, pair in wrong.items() if [mark for mark, _ in pair[0] or []] != [pair[1]]}
    assert not wrong, f"{len(wrong)} of {len(owed)}: {list(wrong.items())[:6]}"
