"""Faust's Kafka transport with explicit acknowledgements.

By default, Faust acknowledges a message when its agent requests the next one, when the agent raised, and when a
rebalance skips it: each is a silent loss if the process then dies. Here only `settle` acknowledges, and only what
`admits` has admitted, in order.
"""

import asyncio
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import faust
from aiokafka.errors import KafkaError
from faust.app.base import BootStrategy
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from faust.types import ConsumerT
from faust.types.tuples import TP, Message
from mode.services import WaitResults

from bus.connection import Connection
from foundation.text import OnNote
from processor.fleet.consumption import GroupFinding, PartitionLag, PartitionPace
from processor.fleet.kafka.consumer_thread import ConsumerThread
from processor.fleet.kafka.fetched import Admission, ReadOrder

_LOG_APPEND_TIME = 1
"""Kafka's number for a timestamp of the broker's. Source: Kafka's record format, "timestampType"."""


class AppendTimes:
    """Reads append times from messages as Faust delivers them."""

    def __init__(self, on_note: OnNote, clock: Callable[[], int] = time.time_ns) -> None:
        """Start.

        Args:
            on_note: called once for each topic whose messages carry their sender's time.
            clock: this machine's, ns since the epoch.
        """
        self._on_note = on_note
        self._clock = clock
        self._unstamped: set[str] = set()

    def of(self, message: Any) -> int:
        """Return when a message was appended, ms since the epoch.

        A topic's setting is checked before a processor starts. Messages that were appended under another one carry the
        time that their sender chose; this machine's clock is used for them.
        """
        if message.timestamp_type == _LOG_APPEND_TIME:
            appended: int = round(message.timestamp * 1000)
            return appended
        if message.topic not in self._unstamped:
            self._unstamped.add(message.topic)
            self._on_note(
                f"topic {message.topic} holds messages without a broker timestamp: their sender's time is "
                "not trusted, and this machine's clock is used. message.timestamp.type must be LogAppendTime.",
                "warning",
            )
        return self._clock() // 1_000_000


def servers(connection: Connection) -> list[str]:
    """Return the addresses of the brokers."""
    return [each.strip() for each in connection.bootstrap_servers.split(",")]


def credentials(connection: Connection) -> Any:
    """Return the credentials for Faust; None if the broker requires none."""
    context = None
    if connection.uses_tls:
        context = ssl.create_default_context(cafile=connection.ca_file or None)
        if connection.certificate_file:
            context.load_cert_chain(
                connection.certificate_file, connection.key_file or None, connection.key_password or None
            )
    if connection.uses_sasl:
        return faust.SASLCredentials(
            username=connection.username,
            password=connection.password,
            ssl_context=context,
            mechanism=connection.sasl_mechanism.upper(),
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def client_options(connection: Connection) -> dict[str, Any]:
    """Return addresses and credentials for Faust's Kafka client when it is used directly."""
    return {"bootstrap_servers": servers(connection), **credentials_to_aiokafka_auth(credentials(connection))}


_SEEK_SECONDS = 10.0
_BLOCKED_SECONDS = 10.0
_POLL_SECONDS = 0.01
"""Poll interval, s, while some partitions are paused by back-pressure. Faust's 1 s starves their agents."""


class Consumer(aiokafka.Consumer):
    """The consumer of one worker."""

    is_between_assignments = False
    """True if the partitions of this worker are about to be assigned."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what Faust passes."""
        super().__init__(*arguments, **options)
        self._read_offset = _NothingRead(lambda: None)
        self.orders: dict[TP, ReadOrder] = {}
        """By assigned partition, which message comes next; replaced on the loop of the app only."""
        self.paces: dict[TP, PartitionPace] = {}
        """How late messages of assigned partitions are evaluated; replaced with the orders."""
        self._settled: dict[TP, int] = {}
        """Up to which offset this worker evaluated each partition, and its results arrived; also of former ones."""
        self._taken_at = 0.0

    def _new_consumer_thread(self) -> ConsumerThread:
        on_note = cast("Transport", self.transport).on_note
        return ConsumerThread(self, on_note=on_note, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek to the group's committed offsets, within limits.

        The client begins a new assignment there by itself. Faust waits for this call, and never reads again where it
        takes longer than a request may.
        """
        try:
            async with asyncio.timeout(_SEEK_SECONDS):
                await super().perform_seek()
        except (KafkaError, TimeoutError, AssertionError) as error:
            # The assertion is the client's, for partitions that have just gone.
            self.log.info("No seek to committed offsets: %r", error)
        self._hold_to(self.orders)

    def _hold_to(self, orders: Mapping[TP, ReadOrder]) -> None:
        """Replace offsets that would keep Faust from committing what is evaluated: it waits for those in between.

        Higher ones are somebody else's. Lower ones are the broker's if it went away before the last ones arrived.
        """
        for partition, order in orders.items():
            reached = max(order.first, self._settled.get(partition, 0))
            committed = self._committed_offset.get(partition)
            if committed is not None:
                self._committed_offset[partition] = min(max(committed, order.first), reached)

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109  Faust's call
        if not self.flow_active or not self._buffered_partitions & self.assignment():
            return await super()._wait_next_records(timeout)
        if active := self._get_active_partitions():
            return await super()._wait_next_records(_POLL_SECONDS)
        await asyncio.sleep(_POLL_SECONDS)
        return {}, active

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:  # noqa: ASYNC109  Faust's call
        """Wait until one of these is done.

        Faust waits so for each message that it passes to its stream, with a task for each of four things that may end
        the wait. Most messages find room at once, which needs none of them.
        """
        first, *others = coros
        if asyncio.iscoroutine(first):
            try:
                first = _continued(first, first.send(None))
            except BaseException as end:
                for other in others:
                    other.close()
                if isinstance(end, StopIteration):
                    return WaitResults([first], [end.value], stopped=False)
                raise
        return await super().wait_first(first, *others, timeout=timeout)

    def ack(self, message: Message) -> bool:  # noqa: ARG002  Faust's call
        """Do nothing: Faust has finished a message before the broker has its alerts."""
        return False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop accepting acknowledgements: Faust has dropped the earlier ones and would take this one for the first."""
        self.is_between_assignments = True
        self.orders, self.paces = {}, {}
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Accept acknowledgements again, for this generation."""
        self.is_between_assignments = False
        await super().on_partitions_assigned(assigned, generation_id)

    def assignment(self) -> set[TP]:
        """Return the partitions of this worker; none before it is connected."""
        try:
            return super().assignment()
        except ConsumerNotStarted:
            return set()

    def highwater(self, tp: TP) -> int:
        """Return the end of a partition; 0 if it is unknown or the partition has just gone, which would end Faust."""
        return cast("ConsumerThread", self._thread).end_of(tp) or 0

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust's look for a live-lock only writes lines, and ends it where a partition has just gone."""

    async def begin(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Find where the group reads in partitions that were just assigned. Before that, `admits` admits none.

        Returns:
            The offset of the next message of each.

        Raises:
            BusUnavailable: waiting does not help.
        """
        starts = await cast("ConsumerThread", self._thread).starts(partitions, self._settled)
        now = time.monotonic()
        orders = {partition: ReadOrder(first, now) for partition, first in starts.items()}
        self._settled |= starts
        self._hold_to(orders)
        self.orders = self.orders | orders
        self.paces = self.paces | {partition: PartitionPace() for partition in starts}
        return starts

    def committed(self) -> dict[TP, int]:
        """Return the committed offsets of assigned partitions, as far as this worker has committed any."""
        return {partition: at for partition, at in self._committed_offset.items() if at is not None}

    async def admits(self, message: Message) -> bool:
        """Return whether a message is the next of its partition; otherwise it is delivered again, or was before."""
        order = self.orders.get(message.tp)
        if order is None:
            return False
        thread = cast("ConsumerThread", self._thread)
        # Only what was delivered before raises the question whether the topic was deleted and created again.
        end = thread.end_of(message.tp) if message.offset < order.next else None
        admission = order.check(message.offset, end, time.monotonic())
        if admission is Admission.SEEK:
            name = f"partition {message.partition} of topic {message.topic}"
            cast("Transport", self.transport).on_note(
                f"Faust skipped messages: {name} is read again from offset {order.next}."
            )
            await thread.call_thread(thread.rewind, message.tp, order.next)
        if admission is Admission.TAKE:
            self._taken_at = time.monotonic()
            if (pace := self.paces.get(message.tp)) is not None:
                pace.take(message.offset, message.timestamp, message.key)
            return True
        return False

    def is_blocked(self) -> bool:
        """Return whether messages are processed of which none is finished, so that Faust rightly reads no more."""
        if time.monotonic() - self._taken_at < _BLOCKED_SECONDS:
            return False
        # What the group committed may be older than the oldest message.
        return any(
            order.next > max(self._committed_offset.get(tp) or 0, order.first) for tp, order in self.orders.items()
        )

    async def commit_settled(self) -> None:
        """Commit everything that is settled, before a stop.

        Faust does nothing where another commit is under way, which began before the last messages were settled; and
        once it stops, nothing is committed any more.
        """
        if not await self.commit():
            await self.commit()

    def lag(self) -> dict[TP, int]:
        """Return the known number of unacknowledged messages by partition; from any thread."""
        found = {}
        ends = cast("ConsumerThread", self._thread).ends
        for partition in self.assignment():
            # Before its first commit, where reading began.
            begun = self._committed_offset.get(partition) or self._read_offset.get(partition)
            if begun is not None:
                found[partition] = max(0, ends.get(partition, 0) - begun, self.highwater(partition) - begun)
        return found

    def settle(self, message: Message) -> None:
        """Acknowledge a message; ignored if it is from before the last rebalance, since it is delivered again."""
        if not self.is_between_assignments and message.generation_id == self.app.consumer_generation_id:
            super().ack(message)
            self._settled[message.tp] = message.offset + 1
            if (pace := self.paces.get(message.tp)) is not None:
                pace.settle(message.offset, time.monotonic())

    def take_findings(self) -> list[GroupFinding]:
        """Return what strangers did to the group since the last call."""
        findings, found = cast("ConsumerThread", self._thread).group_findings, []
        while findings:
            found.append(findings.popleft())
        return found

    @property
    def workers(self) -> frozenset[str]:
        """The names of the group's members, if this processor leads it."""
        return cast("ConsumerThread", self._thread).membership.workers

    def lags(self) -> list[PartitionLag]:
        """Return what waits in the assigned partitions, and how late it is."""
        waiting, wall, now = self.lag(), time.time(), time.monotonic()
        return [pace.lag(tp.topic, tp.partition, waiting.get(tp, 0), wall, now) for tp, pace in self.paces.items()]


def attach(
    app: faust.App,
    name: str,
    topics: Sequence[str],
    agent: Callable[[Any], Any],
    *,
    on_revoked: Callable[..., Any],
    on_assigned: Callable[..., Any],
) -> None:
    """Attach an agent to an app that has not started.

    Args:
        app: as made by make_app.
        name: of the agent.
        topics: full names.
        agent: receives the stream of their messages, as bytes.
        on_revoked: called before partitions go, as Faust's signal calls it.
        on_assigned: called when they have come.
    """
    topic = app.topic(*topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    app.agent(topic, name=name)(agent)
    signals: Any = app
    signals.on_partitions_revoked.connect(on_revoked)
    signals.on_partitions_assigned.connect(on_assigned)


def unacknowledged(stream: Any) -> AsyncIterator[Any]:
    """Yield the events of an agent's stream without acknowledging them.

    Where Faust has its stream compiled (all wheels have), it acknowledges inline and never asks the consumer.
    """
    stream.enable_acks = False
    events: AsyncIterator[Any] = stream.events()
    return events


async def _continued(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """Run a coroutine to its end whose first step has been run, and return what it returns.

    Args:
        begun: the coroutine.
        waits_for: what it yielded.
    """

    class Rest:
        def __await__(self) -> Generator[Any, Any, Any]:
            waited = waits_for
            while True:
                try:
                    answer = yield waited
                except BaseException as error:  # noqa: BLE001  also that its task was canceled
                    step = partial(begun.throw, error)
                else:
                    step = partial(begun.send, answer)
                try:
                    waited = step()
                except StopIteration as done:
                    return done.value

    return await Rest()


class _NothingRead(defaultdict[Any, Any]):
    """Offsets up to which Faust has read, which it never finds when it asks whether to deliver a message.

    A rebalance can leave the offset of an earlier assignment there, up to which Faust would deliver nothing.
    """

    def __getitem__(self, _: Any) -> None:
        return None


class Transport(aiokafka.Transport):
    """The transport that makes such consumers."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer

    def __init__(self, app: faust.App, on_note: OnNote) -> None:
        """Take the brokers of an app's settings. on_note: receives what an operator should know."""
        super().__init__(app.conf.broker_consumer, app)
        self.on_note = on_note


class _Boot(BootStrategy):
    enable_kafka_producer = False
    """Does nothing: messages are sent by ResultProducer, and a second client could only fail."""


class FaustApp(faust.App):
    """A Faust app that talks with the broker by this transport."""

    BootStrategy = _Boot

    def _create_directories(self) -> None:
        """Do nothing: no table of Faust is used, and a process that is killed would leave the folder behind."""
