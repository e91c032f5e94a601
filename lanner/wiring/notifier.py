"""The sinks of one `lanner notifier`: each with its line, its far end and its thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bus.connection import Connection
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.operations.readings.notifier import QueueReadings, SinkView
from lanner.settings import Settings
from lanner.wiring.single_host.orphaned_outboxes import tell_of_left
from lanner.wiring.sinks.registry import addresses_of, receiver_of, worker_of
from notifier.delivery.outcome import RemoteSink
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import Worker
from notifier.queue.outbox import Outbox, OutboxUnusable

STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One sink."""

    worker: Worker
    close: Callable[[], None]
    outbox: Outbox | None = None
    """Its line, where that is on disk."""
    line: QueueReadings | None = None
    """Its line, where that is in Kafka."""


class Deliveries:
    """All sinks; they start together, take new settings together, and end together."""

    def __init__(self, settings: Settings, names: Sequence[str], connection: Connection | None) -> None:
        """Put them together; nothing is delivered yet.

        Args:
            settings: where to, and by which routes.
            names: of the sinks.
            connection: the broker in which alerts wait; None where they wait in outboxes on disk.

        Raises:
            BadInput: a sink's settings are wrong.
            BusUnavailable: the broker's client can't be set up.
        """
        self.all: list[Delivery] = []
        self._names = names
        self._connection = connection
        folder = Path(settings.notifier.state_dir)
        addresses = addresses_of(settings, note)
        receivers = self._receivers(settings)
        for name, receiver in zip(names, receivers, strict=True):
            tally = SinkStats()
            address = addresses(name, tally)
            try:
                if connection is None:
                    outbox = Outbox(folder / f"{name}.outbox.db", most=settings.notifier.outbox_alerts)
                    worker = worker_of(name, outbox, receiver, address, tally=tally, note=note)
                    self.all.append(Delivery(worker, outbox.close, outbox))
                else:
                    from notifier.queue.kafka import KafkaQueue  # noqa: PLC0415  needs the broker's client

                    line = KafkaQueue(connection, name, folder, tally, note)
                    worker = worker_of(name, line, receiver, address, tally=tally, note=note)
                    self.all.append(Delivery(worker, line.close, line=line))
            except OutboxUnusable as error:
                raise BadInput(f"notifier.state_dir: {error}.") from None
        if connection is None:
            tell_of_left(folder, names, note)

    @property
    def views(self) -> tuple[SinkView, ...]:
        """Each sink, for those who look on."""
        return tuple(SinkView(each.worker, each.outbox, each.line) for each in self.all)

    def start(self) -> None:
        """Begin to deliver."""
        for each in self.all:
            each.worker.start()

    def reopen(self) -> None:
        """Have files opened anew."""
        for each in self.all:
            each.worker.reopen()

    def change(self, settings: Settings) -> None:
        """Go on with new settings: all of them, or, where one is wrong, none. Raises BadInput."""
        addresses = addresses_of(settings, note)
        receivers = self._receivers(settings)
        for each, receiver in zip(self.all, receivers, strict=True):
            each.worker.change(receiver, addresses(each.worker.name, each.worker.tally))

    def stop(self) -> None:
        """End; what is not delivered stays where it waits."""
        for each in self.all:
            if each.worker.stop(STOP_SECONDS):
                each.close()

    def account(self) -> Sequence[str]:
        """Say of each sink what it did."""
        return [_account(each.worker.name, each.worker.tally) for each in self.all]

    def _receivers(self, settings: Settings) -> list[RemoteSink]:
        made: list[RemoteSink] = []
        try:
            for name in self._names:
                made.append(receiver_of(settings, name, connection=self._connection))  # noqa: PERF401  closed below
        except BaseException:
            for each in made:
                each.close()
            raise
        return made


def _account(name: str, tally: SinkStats) -> str:
    return (
        f"{name}: {tally.sent:,} delivered, {tally.retried:,} attempts failed, {tally.dead_lettered:,} refused, "
        f"{tally.duplicates:,} duplicates, {tally.suppressed:,} not for it, {tally.muted:,} muted"
    )
