"""Sends attacks to one fleet and remembers where each message lies."""

import re
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bus.clients.readers import TopicReader
from bus.connection import Connection, client_config
from bus.messages import CLOCK, KEY, SIGNATURE, Headers
from bus.topics import EVENTS, PROCESSOR_DEAD_LETTERS
from collector.publishing.identity import HostIdentity, host_key
from tests.adversary.fleet.attacks import OWN, Attack, decoded
from tests.adversary.fleet.honest import NAMES

MOST_REPEATS = 4
"""Most repeats of one message: their alerts have the same ids, and those beyond the fifth would count as repeats."""
Position = tuple[str, int, int]
"""Topic, partition, offset."""
_MARK = re.compile(r"/evil/(\d+)/")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of the hostile host as stored in a topic."""

    position: Position
    about: str
    """What it is, for people."""
    is_batch: bool
    """Whether it can be decoded."""
    is_repeat: bool
    """Whether an honest host sent it before."""
    host_id: str = ""
    mark: int = -1
    """Mark in the paths of its events."""
    marks: int = 0
    """How many events it holds that a rule reports one by one."""
    number: tuple[str, str, int, int] | None = None
    """Host, boot, start of the collector and number of the batch: one that comes again is a replay."""


def sent_as(attack: Attack, position: Position) -> Sent:
    """Describe a message in the topic of events without retaining its bytes, which may be many."""
    value = attack.value or b""
    about = f"{attack.signer} {attack.codec} {attack.headers} {len(value)} bytes {value[:2_000].hex()}"
    batch = decoded(value)
    if batch is None:
        return Sent(position, about, is_batch=False, is_repeat=attack.repeats >= 0)
    columns, strings = batch.columns, batch.strings
    found = zip(columns["type"], columns["fd_name"], strict=True)
    marks = [mark_of(strings[name] or "") for kind, name in found if strings[kind] == "openat"]
    marks = [mark for mark in marks if mark >= 0]
    mark = marks[0] if marks else -1
    return Sent(
        position,
        about,
        is_batch=True,
        is_repeat=attack.repeats >= 0,
        host_id=batch.host_id,
        mark=mark,
        marks=len(marks),
        number=(batch.host_id, batch.boot_id, batch.collector_start, batch.sequence),
    )


def mark_of(name: str) -> int:
    """Return the number of the message that an event's file name marks it with; -1 for none."""
    found = _MARK.match(name)
    return int(found[1]) if found else -1


class Hostile:
    """A host with a collector's rights in one fleet."""

    def __init__(self, connection: Connection, folder: Path, *, forges: bool) -> None:
        """Begin.

        Args:
            connection: the fleet's broker.
            folder: keeps its key.
            forges: whether it also speaks for honest hosts: where nothing is verified, it would be believed.
        """
        self.sent: list[Sent] = []
        self.refused = 0
        """Messages that the broker did not take."""
        self._connection = connection
        self._forges = forges
        self._identity = HostIdentity(OWN[0], OWN[0], "0.1.0", host_key(folder / f"{connection.prefix}evil.key"))
        self._producers: dict[str, Producer] = {}
        self._honest = _HonestMessages(connection) if forges else None
        key, value, headers = self._identity.announcement()
        self._produce("hosts", key, value, headers, Attack(value))

    def send(self, attack: Attack) -> None:
        """Send a message, in this fleet's topic and under a signature for it."""
        if not self._forges and attack.speaks_for_others:
            return
        if attack.repeats >= 0:
            self._repeat(attack)
            return
        headers = [*self._signature(attack), *attack.headers]
        self._produce(attack.topic, attack.key, attack.value, headers, attack)

    def flush(self) -> None:
        """Wait until the broker has answered for all."""
        for producer in self._producers.values():
            assert producer.flush(60) == 0
        if self._honest is not None:
            self._honest.close()

    def _signature(self, attack: Attack) -> Headers:
        topic, key, value = self._connection.topic(attack.topic), attack.key or b"", attack.value or b""
        by_name = {name: each for name, each in attack.headers if each is not None}
        match attack.signer:
            case "none":
                return []
            case "rubbish":
                return [(KEY, b"k" * 32), (SIGNATURE, b"s" * 64)]
            case "wrong":
                return self._identity.signature(topic, key, by_name, value + b"x")
        return self._identity.signature(topic, key, by_name, value)

    def _repeat(self, attack: Attack) -> None:
        found = None if self._honest is None else self._honest.pick(attack.repeats)
        if found is not None:
            key, value, headers = found
            sent = replace(attack, key=key, value=value)
            self._produce(EVENTS, key, value, [*headers, *attack.headers], sent)

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, attack: Attack) -> None:
        producer = self._producer(attack.codec)

        def answered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.refused += 1
            elif topic == EVENTS:
                position = (message.topic() or "", message.partition() or 0, message.offset() or 0)
                self.sent.append(sent_as(attack, position))

        more: dict[str, Any] = {} if attack.partition < 0 else {"partition": attack.partition}
        try:
            producer.produce(self._connection.topic(topic), value, key, headers=headers, on_delivery=answered, **more)
        except KafkaException:
            self.refused += 1
        producer.poll(0)

    def _producer(self, codec: str) -> Producer:
        if codec not in self._producers:
            settings: dict[str, Any] = client_config(self._connection, "hostile")
            settings |= {"compression.type": codec, "message.max.bytes": 500_000_000, "linger.ms": 0}
            # As collectors do: a signed batch counts in its host's partition alone.
            settings["partitioner"] = "murmur2_random"
            self._producers[codec] = Producer(settings | {"queue.buffering.max.kbytes": 1_000_000})
        return self._producers[codec]


class _HonestMessages:
    """Messages in the topic of events under the ids of honest hosts."""

    def __init__(self, connection: Connection) -> None:
        self._reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
        self._found: list[tuple[bytes, bytes, Headers]] = []
        self._picked: Counter[int] = Counter()
        self._names = {name.encode() for name in NAMES}

    def pick(self, position: int) -> tuple[bytes, bytes, Headers] | None:
        """Return one; None where there is none yet."""
        while (message := self._reader.poll(0.01)) is not None:
            key, value = message.key() or b"", message.value() or b""
            headers: Headers = [*dict(message.headers() or []).items()]
            # Without its host's word for the clock, a message that comes again later is dated later.
            if key in self._names and CLOCK in dict(headers):
                self._found.append((key, value, headers))
        if not self._found:
            return None
        position %= len(self._found)
        self._picked[position] += 1
        return self._found[position] if self._picked[position] <= MOST_REPEATS else None

    def close(self) -> None:
        """Close the connection to the broker."""
        self._reader.close()


class DeadLetters:
    """Which messages are dead letters, and why."""

    def __init__(self, connection: Connection) -> None:
        self._reader = TopicReader(connection, connection.topic(PROCESSOR_DEAD_LETTERS), whole=True)
        self.reasons: dict[Position, str] = {}

    def read(self, timeout: float) -> None:
        """Read what comes within a time, s."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            message = self._reader.poll(0.1)
            if message is None:
                continue
            headers: dict[str, Any] = dict(message.headers() or [])
            position = (headers["topic"].decode(), int(headers["partition"]), int(headers["offset"]))
            self.reasons[position] = headers["reason"].decode()

    def close(self) -> None:
        """Close the connection to the broker."""
        self._reader.close()
