"""One `lanner notifier`: its sinks, a worker for each, its intake, approvals in Slack, and alerts that test a sink."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bus.connection import BusUnavailable, Connection
from foundation.text import OnNote
from lanner.dead_letters import report_orphaned_outboxes
from lanner.errors import BadInput, or_bad_input
from lanner.operations.freshness import Freshness, ProblemAlerts, freshness
from lanner.operations.notifier import SinkView, sink_queue
from lanner.ruleset.load import load_or_fail
from lanner.ruletest.given import choose_given, is_json
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import is_loopback
from lanner.terminal.output import note
from lanner.wiring.alert_fields import appended
from lanner.wiring.freshness import disk_spaces, limits_of
from lanner.wiring.kafka import secret
from lanner.wiring.routers import open_outbox, routing_table
from lanner.wiring.rules import find_rules
from lanner.wiring.servers import intake_address, server_secrets
from lanner.wiring.sinks.registry import open_sink, preview_routed, worker_of
from notifier.formats.falco import falco_alert
from notifier.outbox import Outbox
from notifier.routing import Router
from notifier.sink import RoutedAlert, Sink, SinkStats
from processor.output.redaction import Redaction
from processor.rule import alert_text
from schemas.alert import Alert, alert_id

if TYPE_CHECKING:
    from lanner.actions.book import ActionRecords
    from lanner.actions.slack import SlackApprovals
    from notifier.intake import IntakeServer

STOP_SECONDS = 15.0
REPORT_SECONDS = 30.0
APPROVALS_VARIABLE = "LANNER_SLACK_APP_TOKEN"
TEST_RULE = "Lanner test alert"


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
                from notifier.kafka_queue import KafkaQueue

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


def open_approvals(
    settings: Settings, sinks: Sequence[str], connection: Connection | None, environment: Mapping[str, str] = os.environ
) -> "SlackApprovals | None":
    """Start the approval of actions in Slack if there is an app token, a broker, and `slack` among the sinks.

    Raises:
        BadInput: what it needs is not set, or a key can't be used.
        BusUnavailable: the broker's client can't be created.
    """
    section, problems = settings.slack_output, list[SettingFault]()
    if connection is None or "slack" not in sinks:
        return None
    name = "slack_output.app_token_file"
    app_token = secret(name, APPROVALS_VARIABLE, section.app_token_file, environment, problems)
    if not app_token and not problems:
        return None
    token = secret("slack_output.token_file", "LANNER_SLACK_TOKEN", section.token_file, environment, problems)
    if not token or not section.channel:
        text = f"{name}: approvals need a bot's token (slack_output.token_file) and slack_output.channel."
        problems.append(SettingFault(name, text, follows=True))
    if not section.approvers:
        text = f"{name}: slack_output.approvers must list who may approve."
        problems.append(SettingFault(name, text, follows=True))
    if settings.actions.key_file is None:
        text = f"{name}: actions.key_file must be set: it signs what people decide."
        problems.append(SettingFault(name, text, follows=True))
    if problems:
        raise BadSettings(*problems)
    from lanner.actions.topics import TopicActionRecords
    from lanner.wiring.stages.action_records import signing_key

    return approvals_of(settings, TopicActionRecords(connection, signing_key(settings)), app_token, token)


def approvals_of(settings: Settings, records: "ActionRecords", app_token: str, token: str) -> "SlackApprovals":
    """Start the approval of the actions in some records."""
    from lanner.actions.slack import SlackApprovals
    from notifier.sinks.slack.buttons import SlackButtons
    from notifier.sinks.slack.client import WebApi

    section = settings.slack_output
    return SlackApprovals(
        records,
        WebApi(token, section.channel or "", base_url=section.api_url),
        partial(SlackButtons, app_token, token, base_url=section.api_url),
        dict(each.split("=", 1) for each in section.approvers),
        note,
    )


def preview(settings: Settings, sink: str, alert: Alert, report: OnNote) -> str:
    """Return the message, body or line that a sink makes of an alert, by the templates of its routes.

    Reports if a route, a mute or the minimum priority excludes the alert. Raises BadInput if settings are wrong.
    """
    routed = routing_table(settings, report).router(sink, SinkStats())(alert)
    if routed is None:
        report(f"{sink}: a route, a mute or its minimum priority excludes this alert; it would be sent like this.")
        routed = RoutedAlert(alert)
    return preview_routed(settings, sink, routed)


def marked_alert() -> Alert:
    """Return an alert that is clearly marked as a test; each has a unique id."""
    now = time.time_ns()
    host = os.uname().nodename
    return Alert(
        id=alert_id(now, TEST_RULE, host, os.getpid()),
        time=now,
        rule=TEST_RULE,
        priority="Notice",
        output="This is a test of Lanner's delivery; nothing happened | sent_by=lanner notifier test",
        output_fields={},
        tags=("lanner_test",),
        source="internal",
        hostname=host,
    )


def with_rule_texts(alert: Alert, settings: Settings) -> Alert:
    """Return an alert with the description and response of its rule, which JSON doesn't have.

    An alert of an unknown rule stays as it is, and so do all if the rules can't be loaded.
    """
    try:
        rules = load_or_fail(find_rules(settings), warnings=False).rules
    except BadInput:
        return alert
    rule = next((each for each in rules if each.name == alert.rule), None)
    if rule is None or alert.description or alert.response:
        return alert
    return replace(alert, description=alert_text(rule.description), response=alert_text(rule.response))


def from_json(source: str, number: int | None = None) -> Alert:
    """Read one alert in the JSON of Falco and Lanner, from a file or the JSON itself. Raises BadInput.

    number is its position in the file, from 1; None if the file has only one.
    """
    try:
        return falco_alert(choose_given(source, number))
    except ValueError as error:
        raise BadInput(f"{'the JSON' if is_json(source) else source}: {error}.") from None
