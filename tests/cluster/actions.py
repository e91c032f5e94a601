"""Generate marked actions as batches of simulated hosts, and read the resulting alerts."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer

from bus.clients.producers import make_producer, producer_config
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages import Headers
from bus.topics import ALERTS, EVENTS
from schemas.alert import Alert, decode_alert
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from tests.cluster.processes import ONE_IN_FLIGHT
from tests.unit.processor.batches import batch_of

RULE = "Marked action"
RULES = f"""
- rule: {RULE}
  desc: An action of the generator.
  condition: evt.type = openat and fd.name startswith /marked/
  output: action %fd.name on %evt.hostname
  priority: NOTICE
"""


def rules_file(folder: Path, text: str = RULES) -> Path:
    """Write a rule file that detects marked actions."""
    path = folder / "marked.yaml"
    path.write_text(text)
    return path


@dataclass
class Host:
    """A simulated host: every batch holds a marked action among others; hosts share fd.nameraw for three batches."""

    name: str
    others: int = 20
    sequence: int = 0
    boot: str = "boot-1"
    start: int = 1

    def batch(self, *marks: str) -> EventBatch:
        """Return the next batch."""
        self.sequence += 1
        ordinary = {"type": "openat", "fd_name": "/usr/lib/locale/C.utf8/LC_CTYPE"}
        shared = f"round-{self.sequence // 3}"
        actions = [{"type": "openat", "fd_name": f"/marked/{mark}", "fd_name_raw": shared} for mark in marks]
        events = [ordinary] * self.others + actions
        now = time.time_ns()
        made = batch_of(
            *({**event, "time": now + index} for index, event in enumerate(events)),
            host_id=self.name,
            hostname=self.name,
            boot_id=self.boot,
            collector_start=self.start,
            sequence=self.sequence,
        )
        made.created = now
        return made


class Generator:
    """Publishes actions of several hosts and records each of them."""

    def __init__(self, connection: Connection, hosts: int = 16) -> None:
        self.connection = connection
        self.hosts = [Host(f"host-{number}") for number in range(hosts)]
        self.actions: list[str] = []
        config = producer_config(connection, "generator", queue_bytes=64 << 20)
        self._producer: Producer = make_producer(config | ONE_IN_FLIGHT)

    def act(self, rounds: int) -> None:
        """Generate one action per host and round."""
        for _ in range(rounds):
            for host in self.hosts:
                mark = f"{host.name}-{host.sequence + 1}"
                self.publish(host.batch(mark))
                self.actions.append(mark)

    def publish(self, batch: EventBatch) -> None:
        """Send a batch as a collector does."""
        self.send(encode_batch(batch), batch.host_id)

    def send(
        self,
        value: bytes | None,
        host: str,
        headers: Headers | None = None,
        *,
        topic: str = EVENTS,
        partition: int = -1,
    ) -> None:
        """Send arbitrary bytes, or a tombstone. topic: name without prefix; partition: -1 for that of the host."""
        name = self.connection.topic(topic)
        self._producer.produce(name, value, host.encode(), headers=headers or [], partition=partition)
        self._producer.poll(0)

    def flush(self, timeout: float = 60) -> None:
        """Wait until the broker has all messages."""
        assert self._producer.flush(timeout) == 0


class Alerts:
    """All that is on the alerts topic, from its beginning on."""

    def __init__(self, connection: Connection) -> None:
        self._reader = TopicReader(connection, connection.topic(ALERTS), whole=True)
        self.raw: list[Alert] = []
        self._marks: dict[str, Counter[str]] = {}

    def marks(self) -> dict[str, Counter[str]]:
        """Return, by mark, the ids of its alerts and how often each was received."""
        return self._marks

    def read(self, timeout: float) -> None:
        """Read alerts for timeout seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = self._reader.poll(0.1)
            if message is not None:
                alert = decode_alert(message.value() or b"")
                self.raw.append(alert)
                if alert.rule == RULE:
                    mark = str(alert.event["fd.name"]).removeprefix("/marked/")
                    self._marks.setdefault(mark, Counter())[alert.id] += 1

    def wait_for(self, count: int, timeout: float) -> None:
        """Read until there are alerts for so many different actions; fail if no alert comes for timeout seconds."""
        read, deadline = -1, 0.0
        while len(self._marks) < count:
            if len(self.raw) > read:
                read, deadline = len(self.raw), time.monotonic() + timeout
            assert time.monotonic() < deadline, f"{len(self._marks)} of {count} actions were alerted on"
            self.read(0.5)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()


def assert_exact(actions: list[str], alerts: Alerts) -> int:
    """Assert that every action has exactly one alert id, and that there are no other alerts.

    Returns:
        How many alerts came more than once.
    """
    found = alerts.marks()
    missing = [act for act in actions if act not in found]
    assert not missing, f"{len(missing)} actions without an alert, such as {missing[:5]}"
    assert not set(found) - set(actions)
    doubled = {mark: ids for mark, ids in found.items() if len(ids) != 1}
    assert not doubled, f"actions with several ids: {list(doubled.items())[:3]}"
    return sum(sum(ids.values()) - 1 for ids in found.values())
