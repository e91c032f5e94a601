"""Acts with a mark each, as batches of a made-up host; and what came of them, read from the alerts topic."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer

from bus.clients.producers import make_producer, producer_config
from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.messages.headers import Headers
from bus.topics import ALERTS, EVENTS
from schemas.alert import Alert, decode_alert
from schemas.batch import EventBatch
from schemas.codec import encode_batch
from tests.unit.processor.batches import batch_of

RULE = "Marked act"
RULES = f"""
- rule: {RULE}
  desc: An act of the generator.
  condition: evt.type = openat and fd.name startswith /marked/
  output: act %fd.name on %evt.hostname
  priority: NOTICE
"""


def rules_file(folder: Path, text: str = RULES) -> Path:
    """Write the rule that finds marked acts."""
    path = folder / "marked.yaml"
    path.write_text(text)
    return path


@dataclass
class Host:
    """A host that acts: every batch holds one marked act among others; hosts share the raw name for three batches."""

    name: str
    others: int = 20
    sequence: int = 0
    boot: str = "boot-1"
    start: int = 1

    def batch(self, *marks: str) -> EventBatch:
        """Give the next batch."""
        self.sequence += 1
        ordinary = {"type": "openat", "fd_name": "/usr/lib/locale/C.utf8/LC_CTYPE"}
        shared = f"round-{self.sequence // 3}"
        acts = [{"type": "openat", "fd_name": f"/marked/{mark}", "fd_name_raw": shared} for mark in marks]
        events = [ordinary] * self.others + acts
        now = time.time_ns()
        made = batch_of(
            *({**event, "time": now + place} for place, event in enumerate(events)),
            host_id=self.name,
            hostname=self.name,
            boot_id=self.boot,
            collector_start=self.start,
            sequence=self.sequence,
        )
        made.created = now
        return made


class Generator:
    """Publishes acts of several hosts and remembers every one."""

    def __init__(self, connection: Connection, hosts: int = 16) -> None:
        self.connection = connection
        self.hosts = [Host(f"host-{number}") for number in range(hosts)]
        self.acts: list[str] = []
        self._producer: Producer = make_producer(producer_config(connection, "generator", queue_bytes=64 << 20))

    def act(self, rounds: int) -> None:
        """Have every host act so many times."""
        for _ in range(rounds):
            for host in self.hosts:
                mark = f"{host.name}-{host.sequence + 1}"
                self.publish(host.batch(mark))
                self.acts.append(mark)

    def publish(self, batch: EventBatch) -> None:
        """Send one batch as a collector would."""
        self.send(encode_batch(batch), batch.host_id)

    def send(self, value: bytes | None, host: str, headers: Headers | None = None, *, topic: str = EVENTS) -> None:
        """Send any bytes, or a tombstone. topic: without prefix."""
        self._producer.produce(self.connection.topic(topic), value, host.encode(), headers=headers or [])
        self._producer.poll(0)

    def flush(self, timeout: float = 60) -> None:
        """Wait until the broker has all."""
        assert self._producer.flush(timeout) == 0


class Alerts:
    """All that is on the alerts topic, from its beginning on."""

    def __init__(self, connection: Connection) -> None:
        self._reader = TopicReader(connection, connection.topic(ALERTS), whole=True)
        self.raw: list[Alert] = []

    def marks(self) -> dict[str, Counter[str]]:
        """Give, for each mark, the ids of its alerts and how often each came."""
        found: dict[str, Counter[str]] = {}
        for alert in self.raw:
            if alert.rule == RULE:
                mark = str(alert.event["fd.name"]).removeprefix("/marked/")
                found.setdefault(mark, Counter())[alert.id] += 1
        return found

    def read(self, timeout: float) -> None:
        """Read what comes within a time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = self._reader.poll(0.1)
            if message is not None:
                self.raw.append(decode_alert(message.value() or b""))

    def wait_for(self, count: int, timeout: float) -> None:
        """Read until so many different acts were alerted on; says what there is otherwise."""
        deadline = time.monotonic() + timeout
        while len(self.marks()) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(self.marks())} of {count} acts were alerted on"
            self.read(min(left, 0.5))

    def close(self) -> None:
        """Let go of the broker."""
        self._reader.close()


def assert_exact(acts: list[str], alerts: Alerts) -> int:
    """Assert that every act has exactly one alert id, and no alert is about anything else.

    Returns:
        How many alerts came more than once.
    """
    found = alerts.marks()
    missing = [act for act in acts if act not in found]
    assert not missing, f"{len(missing)} acts without an alert, such as {missing[:5]}"
    assert not set(found) - set(acts)
    doubled = {mark: ids for mark, ids in found.items() if len(ids) != 1}
    assert not doubled, f"acts with several ids: {list(doubled.items())[:3]}"
    return sum(sum(ids.values()) - 1 for ids in found.values())
