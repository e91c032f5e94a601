"""Follows the topics of host keys while a processor runs: changes by operators take effect within a second.

Nothing is evaluated before both topics have been read to their ends once: a host that was revoked must not be let in
again by a restart.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader, follow
from bus.connection import Connection
from bus.messages import JSON_HEADERS
from bus.topics import HOST_KEYS, HOST_PINS
from foundation.text import OnNote, printable
from processor.fleet.producer import ResultProducer
from processor.hosts.identity import IdentityGate
from schemas.host_keys import HostKey, encode_host_key, key_id


class HostKeysService:
    """The keys of hosts, of one processor."""

    def __init__(self, connection: Connection, gate: IdentityGate, *, on_note: OnNote) -> None:
        """Begin; nothing is connected. gate: checks messages by the keys that this updates."""
        self.gate = gate
        self._connection = connection
        self._on_note = on_note
        self._shipping: ResultProducer
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()
        self._writing: set[asyncio.Task[None]] = set()

    def start(self, shipping: ResultProducer) -> None:
        """Start; on the running loop. Raises BusUnavailable if the broker's settings are unusable."""
        self._shipping = shipping
        loop = asyncio.get_running_loop()
        follow(
            CompactedTopicReader(self._connection, [HOST_PINS, HOST_KEYS]),
            self._stopped,
            lambda topic, message: loop.call_soon_threadsafe(self._take, topic, message),
            at_end=partial(loop.call_soon_threadsafe, self._is_read.set),
            on_error=self._report,
        )

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    async def ready(self) -> None:
        """Wait until all earlier decisions are known."""
        await self._is_read.wait()

    async def pin(self, record: HostKey) -> "asyncio.Future[int]":
        """Pin a new host's key: here at once, and for all processors once the future ends."""
        self.gate.known.claim(record)
        self._on_note(f"host {printable(record.host_id)} is new: its key {key_id(record.public_key)} is pinned.")
        return await self._write(record)

    async def _write(self, record: HostKey) -> "asyncio.Future[int]":
        return await self._shipping.send(HOST_PINS, record.host_id.encode(), encode_host_key(record), JSON_HEADERS)

    def _report(self, reason: str) -> None:
        until = "those known so far count" if self._is_read.is_set() else "until then nothing is evaluated"
        self._on_note(f"host keys cannot be read ({reason}): {until}.", "warning")

    def _take(self, topic: str, message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if topic == HOST_KEYS:
            if wrong := self.gate.known.take_decision(key, value):
                source = f"{self._connection.topic(topic)} at {message.offset()}"
                self._on_note(f"{source}: ignored, since it is not a valid host key record: {wrong}.", "warning")
            return
        winner = self.gate.known.take_pin(key, value)
        if winner is not None:
            self._on_note(
                f"another key was pinned for host {printable(winner.host_id)}; the first one is used.", "warning"
            )
            task = asyncio.ensure_future(self._cover(winner))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _cover(self, winner: HostKey) -> None:
        try:
            await (await self._write(winner))
        except Exception as error:  # noqa: BLE001  it counts here all the same, and whoever reads the topic next covers it
            self._on_note(
                f"the first key of host {printable(winner.host_id)} cannot be written again: {error}.", "warning"
            )


_PATIENCE_SECONDS = 10.0
"""How long evaluation waits for the records at the start; alerts without them are better than late ones."""


class RecordsFollower:
    """Reads the topic on a thread, from its beginning."""

    def __init__(
        self, connection: Connection, topic: str, put: Callable[[bytes, bytes | None], None], *, on_note: OnNote
    ) -> None:
        """Begin; nothing is connected.

        Args:
            connection: the broker.
            topic: name without prefix; it has one partition.
            put: receives key and value of each message, on the thread.
            on_note: receives messages for an operator.
        """
        self._connection = connection
        self._topic = topic
        self._put = put
        self._on_note = on_note
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start; on the running loop. Raises BusUnavailable if the broker's settings are unusable."""
        follow(
            CompactedTopicReader(self._connection, [self._topic]),
            self._stopped,
            lambda _, message: self._put(message.key() or b"", message.value()),
            at_end=partial(asyncio.get_running_loop().call_soon_threadsafe, self._is_read.set),
            on_error=self._report,
        )

    def finish(self) -> None:
        """Stop."""
        self._stopped.set()

    async def ready(self) -> None:
        """Wait until the topic has been read once, for a few seconds at most."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._is_read.wait()
        except TimeoutError:
            self._on_note(f"the records of {self._topic} are not read yet: until then, alerts lack them.", "warning")
            self._is_read.set()

    def _report(self, reason: str) -> None:
        self._on_note(f"the records of {self._topic} cannot be read ({reason}): the known ones count.", "warning")
