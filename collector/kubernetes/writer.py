"""Writes records to the topic of pods while this process leads.

What is written follows from the state of the cluster, so nothing has to be queued while the broker is away. Messages
of a former leader that arrive late are recognized by their header, and overwritten if they differ.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader
from bus.clients.event_loop.producer import AsyncProducer
from bus.connection import Connection
from bus.messages.headers import Headers
from bus.topics import PODS
from collector.kubernetes.watching.index import ClusterIndex
from collector.kubernetes.watching.reconciler import Reconciler
from schemas.text.notes import OnNote

WRITER = "lanner_writer"
"""The header that names the term of leadership in which a record was written."""
CLUSTER = "lanner_cluster"
"""The header with the cluster's name: services of several clusters can share a topic, and leave each other's alone."""
_TURN_SECONDS = 0.05
_POLL_SECONDS = 0.2
_PAUSE_SECONDS = 1.0
_MAX_IN_FLIGHT = 500
_QUEUE_BYTES = 8 << 20


class PodWriter:
    """Writes during one term of leadership."""

    def __init__(
        self,
        connection: Connection,
        index: ClusterIndex,
        listed: asyncio.Event,
        *,
        cluster: str,
        delay: float,
        may_write: Callable[[], bool],
        on_written: Callable[[], None],
        on_note: OnNote,
    ) -> None:
        """Prepare; nothing is connected.

        Args:
            connection: the broker.
            index: the objects of the cluster.
            listed: set once the index has all of them.
            cluster: the cluster's name; empty if none is configured.
            delay: seconds for which the record of a deleted pod stays.
            may_write: returns whether this process still leads; checked before each message.
            on_written: called for each message that the broker acknowledged.
            on_note: receives messages for an operator.
        """
        self.reconciler = Reconciler(index, cluster=cluster, delay=delay)
        self._connection = connection
        self._listed = listed
        self._may_write = may_write
        self._on_written = on_written
        self._on_note = on_note
        self._term = uuid4().hex.encode()
        self._cluster = cluster.encode()
        self._headers: Headers = [
            ("content-type", b"application/json"),
            (WRITER, self._term),
            (CLUSTER, self._cluster),
        ]
        self._in_flight = 0
        self._paused_until = 0.0
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Write until canceled. Raises BusUnavailable if the broker's settings are unusable."""
        follower = CompactedTopicReader(self._connection, [PODS])
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._follow, args=(follower, loop), name="pods", daemon=True).start()
        producer = AsyncProducer(self._connection, "lanner-kubernetes", queue_bytes=_QUEUE_BYTES, on_note=self._on_note)
        try:
            await self._is_read.wait()
            await self._listed.wait()
            self.reconciler.start()
            while True:
                if not await self._turn(producer):
                    await asyncio.sleep(_TURN_SECONDS)
        finally:
            self._stopped.set()
            # Nothing more is sent: what has not left yet is dropped.
            await asyncio.shield(asyncio.to_thread(producer.close, 0))

    async def _turn(self, producer: AsyncProducer) -> bool:
        """Write what is due; return whether there may be more at once."""
        now = time.monotonic()
        room = _MAX_IN_FLIGHT - self._in_flight
        if room <= 0 or now < self._paused_until or not self._may_write():
            return False
        planned = self.reconciler.plan(now, room)
        for key, value in planned:
            if not self._may_write():
                self.reconciler.failed(key)
                continue
            sent = await producer.send(self._connection.topic(PODS), key.encode(), value, self._headers)
            self._in_flight += 1
            sent.add_done_callback(partial(self._settle, key))
        return bool(planned) and self._may_write()

    def _settle(self, key: str, sent: "asyncio.Future[int]") -> None:
        self._in_flight -= 1
        if sent.cancelled():
            return
        if (error := sent.exception()) is None:
            self.reconciler.arrived(key)
            self._on_written()
            return
        self.reconciler.failed(key)
        if time.monotonic() >= self._paused_until:
            self._on_note(f"a record of a pod was not written: {error}.", "warning")
        self._paused_until = time.monotonic() + _PAUSE_SECONDS

    def _follow(self, follower: CompactedTopicReader, loop: asyncio.AbstractEventLoop) -> None:
        reported = ""
        try:
            while not self._stopped.is_set():
                taken = follower.poll(_POLL_SECONDS)
                if taken is not None:
                    headers = dict(taken[1].headers() or [])
                    if headers.get(CLUSTER, b"") == self._cluster and headers.get(WRITER) != self._term:
                        loop.call_soon_threadsafe(self._found, taken[1])
                elif follower.has_read_all and not self._is_read.is_set():
                    loop.call_soon_threadsafe(self._is_read.set)
                if follower.last_error != reported:
                    reported = follower.last_error
                    if reported:
                        self._on_note(f"the topic of pods cannot be read ({reported}).", "warning")
        except RuntimeError:
            # The loop is closed: this process is shutting down.
            return
        finally:
            follower.close()

    def _found(self, message: Message) -> None:
        self.reconciler.found((message.key() or b"").decode("utf-8", "replace"), message.value())
