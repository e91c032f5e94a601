"""The sinks of one `lanner notifier`: settings in, a worker for each sink out."""

from collections.abc import Sequence
from pathlib import Path

from bus.connection import Connection
from lanner.dead_letters.selection import report_orphaned_outboxes
from lanner.operations.notifier import SinkView
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.wiring.routing.routers import open_outbox, routing_table
from lanner.wiring.sinks.registry import open_sink, worker_of
from notifier.delivery.outbox import Outbox
from notifier.delivery.routing import Router
from notifier.sink import Sink, SinkStats

STOP_SECONDS = 15.0


class Deliveries:
    """All sinks; they start, change settings and stop together."""

    def __init__(self, settings: Settings, names: Sequence[str], connection: Connection | None) -> None:
        """Open the sinks and their queues; nothing is delivered yet.

        Args:
            settings: sinks and routes.
            names: of the sinks.
            connection: the broker in which alerts wait; None if they wait in outboxes on disk.

        Raises:
            BadInput: a sink's settings are wrong.
            BusUnavailable: the broker's client can't be created.
        """
        self.names = names
        """The names of the sinks."""
        self.has_broker = connection is not None
        """True if alerts wait in Kafka."""
        self._connection = connection
        folder = Path(settings.notifier.state_dir)
        table = routing_table(settings, note)
        opened = self._open(settings)
        views: list[SinkView] = []
        for name, sink in zip(names, opened, strict=True):
            stats = SinkStats()
            router = table.router(name, stats)
            if connection is None:
                outbox = open_outbox(settings, name)
                views.append(SinkView(worker_of(name, outbox, sink, router, stats=stats, report=note), outbox))
            else:
                from notifier.delivery.kafka_queue import KafkaQueue

                queue = KafkaQueue(connection, name, folder, stats, note)
                views.append(SinkView(worker_of(name, queue, sink, router, stats=stats, report=note), kafka=queue))
        self.views = tuple(views)
        """Each sink's worker and queue."""
        if connection is None:
            report_orphaned_outboxes(folder, names, note)

    @property
    def outboxes(self) -> Sequence[tuple[Outbox, Router]]:
        """Each sink's outbox and current routes; empty if alerts wait in Kafka."""
        return [(each.outbox, each.worker.routed) for each in self.views if each.outbox is not None]

    def start(self) -> None:
        """Start delivering."""
        for each in self.views:
            each.worker.start()

    def reopen(self) -> None:
        """Ask all sinks to reopen files and connections."""
        for each in self.views:
            each.worker.reopen()

    def change(self, settings: Settings) -> None:
        """Apply new settings to all sinks, or to none if one is wrong. Raises BadInput."""
        table = routing_table(settings, note)
        opened = self._open(settings)
        for each, sink in zip(self.views, opened, strict=True):
            each.worker.change(sink, table.router(each.worker.name, each.worker.stats))

    def stop(self) -> None:
        """Stop; what is not delivered stays in its queue."""
        for each in self.views:
            if each.worker.stop(STOP_SECONDS):
                each.worker.queue.close()

    def summary(self) -> Sequence[str]:
        """Return one line for each sink with what it did."""
        lines = []
        for each in self.views:
            stats = each.worker.stats
            lines.append(
                f"{each.worker.name}: {stats.sent:,} delivered, {stats.retried:,} attempts failed, "
                f"{stats.dead_lettered:,} refused, {stats.duplicates:,} duplicates, "
                f"{stats.not_routed:,} not routed to it, {stats.muted:,} muted"
            )
        return lines

    def _open(self, settings: Settings) -> list[Sink]:
        opened: list[Sink] = []
        try:
            for name in self.names:
                opened.append(open_sink(settings, name, connection=self._connection))  # noqa: PERF401  closed below
        except BaseException:
            for each in opened:
                each.close()
            raise
        return opened
