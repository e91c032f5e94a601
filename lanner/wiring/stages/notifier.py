"""The sinks of one `lanner notifier`, a worker for each, and its intake of alerts."""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bus.connection import BusUnavailable, Connection
from lanner.dead_letters.selection import report_orphaned_outboxes
from lanner.errors import or_bad_input
from lanner.operations.freshness import Freshness, ProblemAlerts, freshness
from lanner.operations.notifier import SinkView, sink_queue
from lanner.settings import Settings
from lanner.settings.forms import is_loopback
from lanner.terminal.output import note
from lanner.wiring.freshness import disk_spaces, limits_of
from lanner.wiring.routing.previews import marked_alert
from lanner.wiring.routing.routers import open_outbox, routing_table
from lanner.wiring.routing.templates import appended
from lanner.wiring.servers import intake_address, server_secrets
from lanner.wiring.sinks.registry import open_sink, worker_of
from notifier.delivery.outbox import Outbox
from notifier.delivery.routing import Router
from notifier.sink import Sink, SinkStats
from processor.output.redaction import Redaction
from schemas.alert import Alert

if TYPE_CHECKING:
    from notifier.intake import IntakeServer

STOP_SECONDS = 15.0
REPORT_SECONDS = 30.0


class Deliveries:
    """All sinks; they start, change settings and stop together."""

    def __init__(self, settings: Settings, names: Sequence[str], connection: Connection | None) -> None:
        """Open the named sinks, and their queues on disk if there is no broker; nothing is delivered yet.

        Raises:
            BadInput: a sink's settings are wrong.
            BusUnavailable: the broker's client can't be created.
        """
        self.names = names
        """The names of the sinks."""
        self.connection = connection
        """The broker in which alerts wait, if any."""
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
        self.current: Freshness | None = None
        """How current delivery is; None before the first look."""
        self._problems = ProblemAlerts(socket.gethostname())
        self.views = tuple(views)
        """Each sink's worker and queue."""
        if connection is None:
            report_orphaned_outboxes(folder, names, note)

    @property
    def outboxes(self) -> Sequence[tuple[Outbox, Router]]:
        """Each sink's outbox and current routes; empty if alerts wait in Kafka."""
        return [(each.outbox, each.worker.routed) for each in self.views if each.outbox is not None]

    def look(self, settings: Settings) -> None:
        """Find out which sinks fail and whether disks are full, and report through the other sinks what has changed."""
        queues = [sink_queue(each.worker) for each in self.views]
        disks = disk_spaces(settings, self.names)
        self.current = freshness(time.time(), limits_of(settings), queues, disks=disks)
        if alerts := self._problems.look(self.current):
            threading.Thread(target=self._report, args=(alerts,), name="problems", daemon=True).start()

    def _report(self, alerts: Sequence[Alert]) -> None:
        """Send alerts to all sinks; in a fleet, through the topic of alerts."""
        from notifier.intake import IntakeRefused, into_outboxes, into_topic

        async def send() -> None:
            connection = self.connection
            takes = into_outboxes(self.outboxes) if connection is None else into_topic(connection, note)
            async with asyncio.timeout(REPORT_SECONDS), takes as take:
                for alert in alerts:
                    await take(alert)

        try:
            asyncio.run(send())
        except (OSError, IntakeRefused, BusUnavailable) as error:
            why = str(error) or f"no answer in {REPORT_SECONDS:.0f} s"
            note(f"the other sinks can't be told that {alerts[0].output}: {why}.", "warning")

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
                opened.append(open_sink(settings, name, connection=self.connection, report=note))  # noqa: PERF401  closed below
        except BaseException:
            for each in opened:
                each.close()
            raise
        return opened


@dataclass(frozen=True, slots=True)
class RunningIntake:
    """An intake that listens until its server is stopped."""

    server: "IntakeServer"
    address: str

    def summary(self) -> str:
        """Return a line with what it did."""
        stats = self.server.stats
        return f"intake: {stats.taken:,} accepted, {stats.refused:,} refused, {stats.failed:,} could not be stored"


def open_intake(settings: Settings, listen: str, deliveries: Deliveries) -> RunningIntake:
    """Accept alerts at host:port for the topic of alerts, or without a broker for the sinks' outboxes.

    Raises BadInput with all problems, and BusUnavailable if the broker can't be used.
    """
    from notifier.intake import Bus, IntakeServer, into_outboxes, into_topic

    connection, section = deliveries.connection, settings.intake
    bus: Bus = partial(into_outboxes, deliveries.outboxes)
    if connection is not None:
        bus = partial(into_topic, connection, note)
    host, port = intake_address(listen)
    token, context = server_secrets("intake", section)
    add, redact = appended(settings), Redaction(settings.redact).alert
    server = IntakeServer(
        bus, marked_alert, prepare=lambda alert: redact(add(alert)), token=token, context=context, report=note
    )
    with or_bad_input(f"intake.listen: {listen}"):
        server.start(host, port)
    if not token and not section.client_ca_file:
        who = "any user of this host" if is_loopback(host) else "anyone who can connect"
        note(f"intake: no token and no client certificates: {who} can send alerts.", "warning")
    return RunningIntake(
        server, f"{'https' if context else 'http'}://{listen.rpartition(':')[0] or '*'}:{server.port}/"
    )
