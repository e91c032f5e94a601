"""The service of a cluster: one process leads, reads the API server and writes the topic; the others wait."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import uuid4

from confluent_kafka import Message

from bus.clients.compacted import CompactedTopicReader, follow
from bus.clients.event_loop import AsyncProducer
from bus.connection import BusUnavailable, Connection
from bus.messages import Headers
from bus.topics import PODS
from collector.kubernetes.api import ApiServer, Watcher
from collector.kubernetes.index import ClusterIndex, Reconciler
from collector.kubernetes.lease import Elector
from foundation.text import OnNote

WRITER = "lanner_writer"
"""The header that names the term of leadership in which a record was written."""
CLUSTER = "lanner_cluster"
"""The header with the cluster's name: services of several clusters can share a topic, and leave each other's alone."""
_TURN_SECONDS = 0.05
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
        self._headers: Headers = [("content-type", b"application/json"), (WRITER, self._term), (CLUSTER, self._cluster)]
        self._in_flight = 0
        self._paused_until = 0.0
        self._is_read = asyncio.Event()
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Write until canceled. Raises BusUnavailable if the broker's settings are unusable."""
        pass_on = asyncio.get_running_loop().call_soon_threadsafe
        follow(
            CompactedTopicReader(self._connection, [PODS]),
            self._stopped,
            partial(self._found, pass_on),
            at_end=partial(pass_on, self._is_read.set),
            on_error=lambda reason: self._on_note(f"the topic of pods cannot be read ({reason}).", "warning"),
        )
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

    def _found(self, pass_on: Callable[..., object], _: str, message: Message) -> None:
        headers = dict(message.headers() or [])
        if headers.get(CLUSTER, b"") == self._cluster and headers.get(WRITER) != self._term:
            key = (message.key() or b"").decode("utf-8", "replace")
            pass_on(self.reconciler.found, key, message.value())


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings of the service."""

    namespace: str
    """The namespace of the lease."""
    lease: str
    """Its name."""
    identity: str
    """Identifies this process; unique among those that compete for the lease."""
    page_size: int
    """Objects per page of a list."""
    cluster: str
    """The cluster's name; empty if none is configured."""
    deletion_delay: float
    """Seconds for which the record of a deleted pod stays."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The counts of all terms of leadership; replaced as a whole, because other threads read them."""

    former_lists: Counter[str] = field(default_factory=Counter)
    former_restarts: Counter[tuple[str, str]] = field(default_factory=Counter)
    former_refused: int = 0
    watcher: Watcher | None = None
    """The watcher of the current term."""
    writer: PodWriter | None = None

    def lists(self) -> Counter[str]:
        """Return the number of complete lists by resource."""
        current = {} if self.watcher is None else self.watcher.reflectors
        return self.former_lists + Counter({name: each.lists for name, each in current.items()})

    def restarts(self) -> Counter[tuple[str, str]]:
        """Return the number of watches that ended, by resource and reason."""
        current = {} if self.watcher is None else self.watcher.reflectors
        reasons = {(name, reason): n for name, each in current.items() for reason, n in each.restarts.items()}
        return self.former_restarts + Counter(reasons)

    def refused(self) -> int:
        """Return the number of pods without a record, because a name is out of range."""
        return self.former_refused + (0 if self.writer is None else self.writer.reconciler.refused)


class KubernetesService:
    """Leads or waits until it is canceled; its counts can be read at any time."""

    def __init__(
        self,
        api: ApiServer,
        connection: Connection,
        settings: ServiceSettings,
        on_note: OnNote,
        act: Callable[[Callable[[], bool]], Awaitable[None]] | None = None,
    ) -> None:
        """Prepare; nothing is connected. act: does actions while this process leads, as its argument returns."""
        self.elector = Elector(api, settings.namespace, settings.lease, settings.identity, on_note)
        self.written = 0
        """Messages that the broker acknowledged."""
        self.terms = Terms()
        self.api = api
        self._connection = connection
        self._settings = settings
        self._on_note = on_note
        self._act = act
        self._index: ClusterIndex | None = None

    @property
    def objects(self) -> Mapping[str, int]:
        """The number of objects by resource; empty while this process doesn't lead."""
        return {} if self._index is None else self._index.counts()

    @property
    def is_complete(self) -> bool:
        """True if all resources were listed in this term."""
        return self._index is not None and self._index.is_complete

    async def run(self) -> None:
        """Lead or wait; cancel to end. Raises BusUnavailable if the broker's settings are unusable."""
        try:
            await self.elector.run(self._lead)
        finally:
            await self.elector.release()
            await self.api.close()

    async def _lead(self) -> None:
        self._index = ClusterIndex()
        watcher = Watcher(self.api, self._index, page_size=self._settings.page_size, on_note=self._on_note)
        writer = PodWriter(
            self._connection,
            self._index,
            watcher.listed,
            cluster=self._settings.cluster,
            delay=self._settings.deletion_delay,
            may_write=lambda: self.elector.may_write,
            on_written=self._count,
            on_note=self._on_note,
        )
        self.terms = replace(self.terms, watcher=watcher, writer=writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watcher.run())
                tasks.create_task(writer.run())
                if self._act is not None:
                    tasks.create_task(self._acting(self._act))
        except* BusUnavailable as errors:
            raise errors.exceptions[0] from None
        finally:
            self.terms = Terms(self.terms.lists(), self.terms.restarts(), self.terms.refused())
            self._index = None

    async def _acting(self, act: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        await act(lambda: self.elector.may_write)

    def _count(self) -> None:
        self.written += 1
