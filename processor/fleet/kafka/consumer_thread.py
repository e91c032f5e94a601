"""The thread that reads from the broker for Faust; it survives all that a broker's restart does to its client.

By default, Faust ends the process for every error of its Kafka client that it does not expect, and that client ends
a background task for those that it does not expect: nothing is read then, and nothing reports it. Here an error is
retried for as long as it lasts, unless it is in the list of fatal ones, and a task that ended is restarted.

Where a task of the client is canceled, a caller that waits for it gets a CancelledError, as if canceled itself. Here
that is an error like any other.
"""

import asyncio
import os
import random
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka
from faust.types.tuples import TP

from bus.clients.availability import Retry
from bus.clients.errors import patience_with
from bus.clients.event_loop import persist_async
from bus.connection import BusUnavailable
from foundation.text import OnNote
from processor.fleet.consumption import GroupFinding, OffsetsChanged, StrangerFound
from processor.fleet.kafka.fetched import ReadOrder, use_bounded_records
from processor.fleet.kafka.membership import STUCK_SECONDS, Membership

STALLED_SECONDS = 60.0
"""A partition that is taken over, or whose broker is restarted, is read again within seconds."""


class StalledPartitions:
    """How long each partition has been at its position."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int | None, float]] = {}

    def look(self, seen: Mapping[TP, tuple[int | None, int]], now: float) -> list[TP]:
        """Return the partitions that have been at the same position for too long and have messages after it.

        Those are returned once; their time begins again.

        Args:
            seen: by assigned partition, the client's position, None if it has none yet, and the end.
            now: a monotonic time, s.
        """
        before, self._since = self._since, {}
        stalled = []
        for partition, (position, end) in seen.items():
            if position is not None and position >= end:
                continue
            was, since = before.get(partition, (position, now))
            if was != position:
                since = now
            elif now - since >= STALLED_SECONDS:
                since = now
                stalled.append(partition)
            self._since[partition] = position, since
        return stalled


_FETCH_WAIT_MS = 100
"""How long the broker may delay a fetch that it cannot fill. Nothing else is fetched from that broker until then, so
that a partition whose messages were just taken waits as long for its next; Faust has 1.5 s."""
_WATCH_SECONDS = 1.0
_MAX_FINDINGS = 100
_SECONDS_LOOKED_AT = 60
_ASK_SECONDS, _ANSWER_SECONDS = 10.0, 2.0
"""How often the ends of partitions are queried, and how long that may take."""
_PROCESSOR = "lanner processor "
"""Begins the metadata of offsets that processors commit: those of another client are reported."""
_GONE = (AssertionError, ConsumerNotStarted, IllegalStateError)
"""The client's errors for a partition that is not assigned."""


class ConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """One worker's consumer."""

    def __init__(self, consumer: Any, *, on_note: OnNote, **options: Any) -> None:
        """Begin; nothing is connected. consumer: Faust's, whose thread this is."""
        super().__init__(consumer, **options)
        self._reading = Retry("Reading", on_note)
        self._committing = Retry("Acknowledging", on_note)
        self._positions = Retry("Reading in the newly assigned partitions", on_note)
        worker = f"{socket.gethostname()}-{os.getpid()}"
        self.name = f"{_PROCESSOR}{worker}"
        """Identifies the offsets that this processor commits."""
        self.group_findings: deque[GroupFinding] = deque(maxlen=_MAX_FINDINGS)
        """Actions of strangers in the group, for alerts; read from another thread."""
        self.ends: Mapping[TP, int] = {}
        """Ends of partitions as the broker reported them last, up to ten seconds ago."""
        self._stalled = StalledPartitions()
        self._ask_at = 0.0
        self.membership = Membership(worker, lambda text: self.group_findings.append(StrangerFound(text)))
        self._committed: dict[TP, int] = {}
        """Offsets of assigned partitions as this processor has committed them, or found them at their start."""
        self._gathering_since: float | None = None
        """Since when the group gathers, monotonic s."""
        self._gathered: deque[bool] = deque(maxlen=_SECONDS_LOOKED_AT)
        """For each of the last seconds, true if the group gathered."""

    def _create_worker_consumer(self, *args: Any, **options: Any) -> Any:
        consumer = super()._create_worker_consumer(*args, **options)
        # Faust has no setting for it, and aiokafka no name but this, read when the consumer starts.
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001  see above
        consumer._partition_assignment_strategy = [self.membership]  # noqa: SLF001  Faust chooses it by its tables
        use_bounded_records()
        return consumer

    async def on_start(self) -> None:
        """Connect, waiting as long as the broker is unavailable."""
        self.time_started = time.monotonic()
        self._consumer = await persist_async(self._connected, self._reading)
        self.add_future(self._watch())

    async def on_thread_stop(self) -> None:
        """Leave the group, if a broker is available."""
        with suppress(KafkaError, asyncio.CancelledError):
            # The client lets its own cancellation out where a fetch waits for a broker that is away.
            await super().on_thread_stop()

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """Call a function on this thread. Raises what it raises, and KafkaError where a task of the client's ended."""
        try:
            return await super().call_thread(fun, *args, **options)
        except asyncio.CancelledError as error:
            raise self._as_error(error) from None

    async def starts(self, partitions: Iterable[TP], evaluated: Mapping[TP, int]) -> dict[TP, int]:
        """Return the offsets from which to read partitions; waits as long as the broker is unavailable.

        Args:
            partitions: newly assigned ones.
            evaluated: up to where this processor evaluated partitions that it had before.
        """
        assigned = list(partitions)

        async def found() -> dict[TP, int]:
            try:
                return cast("dict[TP, int]", await self.call_thread(self._starts, assigned, evaluated))
            except Exception as error:  # noqa: BLE001  its assertions fail too where a broker knows no others yet
                raise unavailable(error) from None

        return await persist_async(found, self._positions)

    async def _starts(self, partitions: Sequence[TP], evaluated: Mapping[TP, int]) -> dict[TP, int]:
        consumer: Any = self._ensure_consumer()
        theirs = {each: TopicPartition(each.topic, each.partition) for each in partitions}
        oldest = await consumer.beginning_offsets(list(theirs.values()))
        ends = await consumer.end_offsets(list(theirs.values()))
        committed = await consumer._coordinator.fetch_committed_offsets(list(theirs.values()))  # noqa: SLF001  with metadata
        found: dict[TP, int] = {}
        moved: list[TP] = []
        for each, their in theirs.items():
            stated: OffsetAndMetadata | None = committed.get(their)
            offset = 0 if stated is None else max(stated.offset, 0)
            own = evaluated.get(each)
            by = self.name if stated is None else stated.metadata
            # Anybody can write what processors write: it counts if another may have had the partition since.
            is_others = by.startswith(_PROCESSOR) and by != self.name and their not in self.membership.kept
            # The topic may have been deleted, and perhaps created again.
            if stated is None or own is None or own > ends[their] or is_others:
                own = None
            if not by.startswith(_PROCESSOR) or (own is not None and offset > own):
                self.group_findings.append(OffsetsChanged(each.topic, each.partition, own, offset, by))
                moved.append(each)
            elif own is not None and offset < own:
                # The broker went away before it had them.
                moved.append(each)
            found[each] = max(offset if own is None else own, oldest[their])
        self._committed = {each: at for each, at in self._committed.items() if each in self.assignment()} | found
        if moved:
            await self._commit({each: found[each] for each in moved})
        return found

    def end_of(self, partition: TP) -> int | None:
        """Return the end of a partition; None if it is unknown or the partition has just gone."""
        with suppress(*_GONE):
            return self.highwater(partition)
        return None

    async def rewind(self, partition: TP, offset: int) -> None:
        """Read a partition again from an offset, unless it has just gone. Must run on this thread."""
        consumer: Any = self._ensure_consumer()
        with suppress(*_GONE):
            consumer.seek(TopicPartition(partition.topic, partition.partition), offset)

    def _as_error(self, caught: BaseException) -> BaseException:
        """Return what was caught; for a cancellation an error, or raise it again if this task or thread is to end."""
        if not isinstance(caught, asyncio.CancelledError):
            return caught
        task = asyncio.current_task()
        if task is None or task.cancelling() or self.should_stop or self.app.should_stop:
            raise caught
        return _canceled()

    async def _connected(self) -> Any:
        consumer: Any = self._create_consumer(loop=self.thread_loop)
        try:
            await consumer.start()
        except (KafkaError, asyncio.CancelledError) as error:
            await consumer.stop()
            raise unavailable(self._as_error(error)) from None
        self.membership.guard(consumer._coordinator)  # noqa: SLF001  it joins with the first subscription
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets as soon as the broker accepts them, except those that another worker owns by then."""
        consumer: Any = self._ensure_consumer()
        while not (self.should_stop or self.app.should_stop):
            assigned = self.assignment()
            commits = {
                TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, self.name)
                for tp, offset in offsets.items()
                if tp in assigned
            }
            try:
                self._committed |= {tp: offset for tp, offset in offsets.items() if tp in assigned}
                await consumer.commit(commits)
            except (CommitFailedError, IllegalStateError):
                # The group was rebalanced: uncommitted messages are delivered again to the new owner.
                return False
            # Its assertions fail too where a broker knows no others yet.
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  see above
                why = unavailable(self._as_error(error))
                try:
                    pause = self._committing.failed(why)
                except BusUnavailable as fatal:
                    await self.crash(fatal)
                    return False
            else:
                self._committing.succeeded()
                return True
            await asyncio.sleep(pause)
        return False

    async def _fetch_records(self, consumer: Any, *args: Any, **options: Any) -> Any:
        try:
            records = await super()._fetch_records(consumer, *args, **options)
        except (KafkaError, asyncio.CancelledError) as error:
            await asyncio.sleep(self._reading.failed(unavailable(self._as_error(error))))
            return {}
        if records:
            self._reading.succeeded()
        return records

    async def _watch(self) -> None:
        """Keep the client's background tasks running, report what made them fail, and read what Faust skipped."""
        pause = 0.0
        while not self.should_stop:
            await asyncio.sleep(_WATCH_SECONDS + pause)
            try:
                try:
                    await self._read_skipped()
                    self.membership.query_unknown_topics()
                    await self._gather()
                    pause = self._revive(await self._stalls())
                except BusUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001  it looks into the client, between two of its steps
                    pause = self._reading.failed(unavailable(error))
            except BusUnavailable as fatal:
                await self.crash(fatal)
                return

    async def _read_skipped(self) -> None:
        for partition, order in cast("dict[TP, ReadOrder]", cast("Any", self.consumer).orders).items():
            end = self.end_of(partition)
            if end is not None and order.is_overdue(end, time.monotonic()):
                await self.rewind(partition, order.next)

    async def _gather(self) -> None:
        """Remove the other members of a group that doesn't come together: one delays it, or all are strangers."""
        consumer: Any = self._ensure_consumer()
        now = time.monotonic()
        # While this processor joins, until it has its partitions.
        gathers = bool(consumer._coordinator._performed_join_prepare)  # noqa: SLF001  aiokafka has no other name for it
        self._gathered.append(gathers)
        if self._gathered.count(True) > _SECONDS_LOOKED_AT / 2:
            self.group_findings.append(
                StrangerFound(
                    "the group gathered for more than half of the last minute, because members join and leave it, or "
                    "answer late: little is evaluated in between"
                )
            )
        if not gathers:
            self._gathering_since = None
        elif self._gathering_since is None:
            # Not all processors at once.
            self._gathering_since = now + random.uniform(0, STUCK_SECONDS / 4)  # noqa: S311  no secret
        elif now - self._gathering_since > STUCK_SECONDS:
            self._gathering_since = None
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.membership.remove_members()

    async def _stalls(self) -> list[BaseException]:
        """Return an error for each partition that the client has stopped reading, whatever the cause.

        The client learns the end of a partition only by reading it, so the broker is queried.
        """
        now = time.monotonic()
        if now < self._ask_at:
            return []
        self._ask_at = now + _ASK_SECONDS
        consumer: Any = self._ensure_consumer()
        ends: dict[TopicPartition, int] = {}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                ends = await consumer.end_offsets(list(consumer.assignment()))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  while the broker is away, nothing can be read
            self._as_error(error)
        self.ends = {TP(each.topic, each.partition): end for each, end in ends.items()}
        await self._look_at_commits(list(ends))
        seen = {}
        for partition, end in ends.items() if not cast("Any", self.consumer).is_blocked() else ():
            with suppress(*_GONE):
                # The consumer's own method waits until there is one.
                state = consumer._subscription._assigned_state(partition)  # noqa: SLF001  see above
                seen[partition] = state.position if state.has_valid_position else None, end
        return [
            KafkaError(f"it has not read partition {each.partition} of topic {each.topic} for {STALLED_SECONDS:.0f} s")
            for each in self._stalled.look(seen, now)
        ]

    async def _look_at_commits(self, partitions: Sequence[TopicPartition]) -> None:
        """Report offsets that somebody else committed for partitions of this processor, and set them right."""
        consumer: Any = self._ensure_consumer()
        before = dict(self._committed)
        committed: dict[TopicPartition, OffsetAndMetadata] = {}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                committed = await consumer._coordinator.fetch_committed_offsets(partitions)  # noqa: SLF001  with metadata
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  it is asked again later
            self._as_error(error)
        wrong = {}
        for their, stated in committed.items():
            each = TP(their.topic, their.partition)
            own = before.get(each)
            if own is None or own != self._committed.get(each):
                continue
            # One of a processor that is behind is older, or this processor's newest is under way.
            if stated.offset > own or (stated.offset < own and not stated.metadata.startswith(_PROCESSOR)):
                wrong[each] = own
                self.group_findings.append(
                    OffsetsChanged(each.topic, each.partition, own, stated.offset, stated.metadata)
                )
        if wrong:
            await self._commit(wrong)

    def _revive(self, failures: list[BaseException]) -> float:
        """Restart the client's tasks that have ended, and join the group again if anything has failed.

        Args:
            failures: found otherwise.

        Returns:
            Seconds to wait until the next look.

        Raises:
            BusUnavailable: a task ended by an error that waiting does not fix.
        """
        consumer: Any = self._ensure_consumer()
        client, fetcher, coordinator = consumer._client, consumer._fetcher, consumer._coordinator  # noqa: SLF001
        if consumer._closed or self.app.should_stop:  # noqa: SLF001  aiokafka has no other name for it
            return 0.0
        try:
            # The coordinator stops until its error is retrieved.
            coordinator.check_errors()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever ended its task
            failures.append(self._as_error(error))
        for owner, name, work in (
            (coordinator, "_coordination_task", coordinator._coordination_routine),  # noqa: SLF001
            (client, "_sync_task", client._md_synchronizer),  # noqa: SLF001
            (fetcher, "_fetch_task", fetcher._fetch_requests_routine),  # noqa: SLF001
        ):
            # They have no end, so that without an error they were canceled.
            if (ended := _end_of(getattr(owner, name), is_endless=True)) is not None:
                failures.append(ended)
                setattr(owner, name, asyncio.ensure_future(work()))
        # These two are begun again by joining the group. A heartbeat also ends where the group has to be joined.
        ends = (_end_of(coordinator._heartbeat_task), _end_of(coordinator._commit_refresh_task, is_endless=True))  # noqa: SLF001
        failures += [ended for ended in ends if ended is not None]
        if not failures:
            return 0.0
        coordinator.request_rejoin()
        return max(self._reading.failed(unavailable(each)) for each in failures)


def _end_of(task: "asyncio.Task[Any] | None", *, is_endless: bool = False) -> BaseException | None:
    """Return why a task has ended; None if it did not fail. is_endless: whether any end is a failure."""
    if task is None or not task.done():
        return None
    error = None if task.cancelled() else task.exception()
    return _canceled() if error is None and is_endless else error


def _canceled() -> BaseException:
    error: BaseException = KafkaError("it canceled one of its tasks")
    return error


def unavailable(error: BaseException) -> BusUnavailable:
    """Describe an error of Faust's client, for people."""
    name = type(error).__name__
    text = str(error) if name in str(error) else f"{name}: {error}"
    return BusUnavailable(
        f"Faust's client of the broker failed ({text[:300]})",
        "check the broker, and this user's rights: `lanner topics acls`",
        patience=patience_with(error),
    )
