"""Follows the topics of host keys while a processor runs: changes by operators take effect within a second.

Nothing is evaluated before both topics have been read to their ends once: a host that was revoked must not be let in
again by a restart.
"""

import asyncio
import threading
from collections.abc import Callable

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from bus.messages import Headers
from bus.topics import HOST_KEYS, HOST_PINS
from foundation.text import OnNote, printable
from processor.fleet.producer import ResultProducer
from processor.hosts.identity import IdentityGate
from schemas.host_keys import HostKey, encode_host_key, key_id

_POLL_SECONDS = 0.2
_HEADERS: Headers = [("content-type", b"application/json")]


class HostKeysService:
    """The keys of hosts, of one processor."""

    def __init__(self, connection: Connection, gate: IdentityGate, *, on_note: OnNote) -> None:
        """Begin; nothing is connected. gate: checks messages by the keys that this updates."""
        self.gate = gate
        self._connection = connection
        self._on_note = on_note
        self._shipping: ResultProducer | None = None
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def start(self, shipping: ResultProducer) -> None:
        """Start; on the running loop. Raises BusUnavailable if the broker's settings are unusable."""
        self._shipping = shipping
        follower = CompactedTopicReader(self._connection, [HOST_PINS, HOST_KEYS])
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._follow, args=(follower, loop), name="host-keys", daemon=True)
        self._thread.start()

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
        if self._shipping is None:
            raise RuntimeError("not started")
        return await self._shipping.send(HOST_PINS, record.host_id.encode(), encode_host_key(record), list(_HEADERS))

    def _follow(self, follower: CompactedTopicReader, loop: asyncio.AbstractEventLoop) -> None:
        is_complete, reported = False, ""
        try:
            while not self._stopped.is_set():
                taken = follower.poll(_POLL_SECONDS)
                if taken is not None:
                    loop.call_soon_threadsafe(self._take, *taken)
                elif follower.has_read_all and not is_complete:
                    is_complete = True
                    loop.call_soon_threadsafe(self._is_read.set)
                if follower.last_error != reported:
                    reported = follower.last_error
                    if reported:
                        until = "those known so far count" if is_complete else "until then nothing is evaluated"
                        self._on_note(f"host keys cannot be read ({reported}): {until}.", "warning")
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            follower.close()

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
        follower = CompactedTopicReader(self._connection, [self._topic])
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(follower, loop), name=self._topic, daemon=True).start()

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

    def _follow(self, follower: CompactedTopicReader, loop: asyncio.AbstractEventLoop) -> None:
        reported = ""
        try:
            while not self._stopped.is_set():
                taken = follower.poll(_POLL_SECONDS)
                if taken is not None:
                    self._put(taken[1].key() or b"", taken[1].value())
                elif follower.has_read_all and not self._is_read.is_set():
                    loop.call_soon_threadsafe(self._is_read.set)
                if follower.last_error != reported:
                    reported = follower.last_error
                    if reported:
                        text = f"the records of {self._topic} cannot be read ({reported}): the known ones count."
                        self._on_note(text, "warning")
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            follower.close()
