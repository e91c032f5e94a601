"""The state of a fleet's stateful rules: read from the changelog; changed by messages to their processors."""

import time
from collections.abc import Callable, Collection, Iterable
from itertools import islice

from bus.clients.compacted import read_tables, read_topics
from bus.clients.errors import ClientErrors
from bus.clients.producers import Outgoing, deliver, resending_producer
from bus.clients.readers import make_consumer, partitions_of
from bus.connection import BusUnavailable, Connection
from bus.messages import partition_of
from bus.topics import CORRELATE, CORRELATION_TABLE, PROCESSORS, changelog
from lanner.known_state.tables import Learner, load_all
from lanner.recorder.store import EventRange, EventStore
from processor.correlation.state import WindowState
from processor.fleet.rules.peers import Peers
from processor.matching.pre_match import Group, PreMatch, StateCommand, command_about
from processor.matching.wire import message_of
from processor.splitting import Plan, StatefulMacro

_SECONDS = 60.0
_AT_ONCE = 5_000
_PATIENCE_SECONDS = 90.0
"""How long to wait until all processors support a version: they look at the topic at once, and compile it."""


class FleetState:
    """The state of a fleet's stateful rules."""

    def __init__(self, connection: Connection) -> None:
        """Find the partitions. Raises BusUnavailable."""
        self.connection = connection
        client_errors = ClientErrors(connection)
        consumer = make_consumer(connection, "lanner-state", client_errors)
        try:
            self._partitions = partitions_of(consumer, client_errors, connection.topic(CORRELATE))
        finally:
            consumer.close()

    def read(self, stop: Callable[[], bool]) -> tuple[WindowState, int]:
        """Return the state, and how many records can't be read. stop: ends it early."""
        topic = self.connection.topic(changelog(CORRELATION_TABLE))
        tables = read_tables(self.connection, topic, self._partitions, stop)
        return load_all(blob for table in tables.values() for blob in table.values.values())

    def send(self, commands: Iterable[PreMatch]) -> int:
        """Send commands to the processors of their groups; return their number. Raises BusUnavailable."""
        count = len(self._partitions)
        return self._deliver((partition_of(key, count), key, value) for key, value in map(message_of, commands))

    def reset(self, macro: StatefulMacro, group: Group | None, value: str | None) -> None:
        """Make processors forget a value, a group, or all of a macro. Raises BusUnavailable.

        Args:
            macro: the macro.
            group: values of its group; None for all groups.
            value: one value of the group; None for all.
        """
        command = StateCommand("reset", macro.fingerprint, value, is_everywhere=group is None)
        key, message = message_of(command_about(command, group or (), "", time.time_ns()))
        self._deliver((partition, key, message) for partition in self._partitions)

    def _deliver(self, messages: Iterable[tuple[int, bytes, bytes]]) -> int:
        producer = resending_producer(self.connection, "lanner-state", queue_bytes=16 << 20)
        name, done = self.connection.topic(CORRELATE), 0
        waiting = iter(messages)
        while chunk := [
            Outgoing(name, key, value, [], partition) for partition, key, value in islice(waiting, _AT_ONCE)
        ]:
            for failure in deliver(producer, chunk, _SECONDS):
                if failure is not None:
                    raise failure
            done += len(chunk)
        return done


def wait_until_supported(connection: Connection, version: str, stop: Callable[[], bool]) -> None:
    """Wait until all live processors support a version: earlier, they would drop what is learned.

    Raises:
        BusUnavailable: They don't in time.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not stop():
        peers = Peers()
        for key, message in read_topics(connection, [PROCESSORS])[PROCESSORS].items():
            peers.take(key, message.value(), message.timestamp()[1])
        live = peers.live(time.time_ns() // 1_000_000)
        missing = [report.worker for report in live if version not in (*report.ready, report.active)]
        if live and not missing:
            return
        if not live or time.monotonic() > deadline:
            who = ", ".join(missing) or "no processor is running"
            raise BusUnavailable(f"not all processors support version {version} yet: {who}", "try again later")
        time.sleep(1)


def learn_from_topic(
    fleet: FleetState,
    events: EventStore,
    plan: Plan,
    macros: Collection[StatefulMacro],
    *,
    stop: Callable[[], bool],
    show: Callable[[str], None],
) -> tuple[int, list[str]]:
    """Learn from the retained events and send the result.

    Args:
        fleet: receives it.
        events: what is retained.
        plan: the active rules.
        macros: the macros of type first_seen to learn for.
        stop: ends it early; nothing is sent then.
        show: receives the progress.

    Returns:
        The number of values, and remarks about events that are not there.
    """
    lookback = max(macro.correlation.timespan for macro in macros)
    now = time.time_ns() // 1_000_000
    retained = events.batches(EventRange(now - lookback // 1_000_000), stop)
    learner = Learner(plan, {macro.fingerprint for macro in macros})
    for stored in retained:
        learner.take(stored)
        share = retained.done * 100 // max(retained.total, 1)
        show(f"{share} % of the retained events, {learner.values:,} values")
    if not stop():
        fleet.send(learner.commands())
    return learner.values, [*retained.remarks, *learner.not_collected()]
