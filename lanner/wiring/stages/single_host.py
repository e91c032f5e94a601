"""Runs all stages in one process: collector, bus, evaluation and sinks."""

import math
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import LannerError
from foundation.files import FileWatch
from foundation.histogram import Histogram
from foundation.text import Level, count_of, ignore_note
from lanner.dead_letters import report_orphaned_outboxes
from lanner.errors import BadInput
from lanner.known_state.host import StatefulEvaluator
from lanner.libraries import need
from lanner.operations.freshness import Freshness, PipelineQueue, ProblemAlerts, freshness
from lanner.operations.notifier import sink_queue
from lanner.process import Signals, Watchdog, notify_systemd
from lanner.recorder.host_tally import HostTally
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from lanner.recorder.store import EventRange, StoredBatch
from lanner.ruleset.compile import CompiledDetection, active_text
from lanner.ruleset.refreshing import HostNames, IndicatorFiles
from lanner.settings import Settings
from lanner.terminal.alert_text import Summary
from lanner.terminal.output import StatusLine, error_line, note
from lanner.wiring.alert_fields import conditions_of
from lanner.wiring.freshness import disk_spaces, limits_of, remove_report, write_report
from lanner.wiring.routers import enabled_sinks, open_sinks
from lanner.wiring.rules import repeated_alerts, rule_choices, searched_rules, uses_lists
from lanner.wiring.stores import collected
from notifier.outputs import AlertDelivery, DirectDelivery
from notifier.sink import RoutedAlert, Sink, SinkStats
from processor.actions.policies import policies_by_rule
from processor.hosts.arrival import PodRecords
from processor.loading.difference import difference, lines
from processor.output.internal_alerts import rules_changed
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.encoding.batch import head_of
from schemas.filter import union

if TYPE_CHECKING:
    from lanner.actions.one_host import OneHostActions
    from lanner.hunting.new_matches import RecordedSearch
    from lanner.intake.local import LocalAuditLog
    from lanner.wiring.stages.collector import Source

POLL_SECONDS = 0.25
REST_SECONDS = 1.0
"""How long to sleep while nothing comes; a record or a signal ends it."""
LEARNING_SECONDS = 0.05
"""How long to learn from recorded batches between two polls."""
CHORES_SECONDS = 1.0
REPORT_SECONDS = 5.0
_FRESH_SECONDS = 15.0
_MAX_NAMED = 5
_MAX_CHANGES = 50


def pipeline_into(
    settings: Settings,
    detection: CompiledDetection,
    sink: Sink,
    *,
    on_batch: Callable[[EventBatch], None] | None = None,
    recorded_for: Sequence[CompiledDetection] = (),
) -> "Pipeline":
    """Return all stages with one sink in place of those that are configured, without messages.

    on_batch gets what the rules of recorded_for need as well.
    """
    from lanner.wiring.stages.collector import make_collector

    def source(detection: CompiledDetection, take: Callable[[EventBatch], None]) -> "Source":
        every = (detection, *recorded_for)
        return make_collector(
            settings,
            frozenset().union(*(each.event_types for each in every)),
            take,
            pushdown_filter=union(*(each.pushdown_filter for each in every)),
            variables=frozenset().union(*(each.variables for each in every)),
        )

    def sinks(_settings: Settings) -> list[AlertDelivery]:
        return [DirectDelivery("own", sink, RoutedAlert, SinkStats(), ignore_note)]

    return Pipeline(
        settings, detection, source, reload=lambda: (settings, detection), sinks=sinks, on_batch=on_batch, quiet=True
    )


class Pipeline:
    """One run of `lanner run`: its stages and its loop."""

    def __init__(
        self,
        settings: Settings,
        detection: CompiledDetection,
        make_source: "Callable[[CompiledDetection, Callable[[EventBatch], None]], Source]",
        *,
        reload: Callable[[], tuple[Settings, CompiledDetection]],
        settings_file: Path | None = None,
        sinks: Callable[[Settings], list[AlertDelivery]] | None = None,
        recording: RollingRecording | None = None,
        on_alert: Callable[[Alert], None] | None = None,
        on_batch: Callable[[EventBatch], None] | None = None,
        open_actions: Callable[[], "OneHostActions"] | None = None,
        reports: bool = False,
        quiet: bool = False,
    ) -> None:
        """Connect the stages; nothing is started.

        Args:
            settings: of this run.
            detection: the compiled rules.
            make_source: returns the collector for compiled rules; it passes its batches to the function given.
            reload: reads settings and rules again; raises BadInput if they are wrong.
            settings_file: watched in addition to the rule files.
            sinks: opens the sinks; by default those that the settings configure.
            recording: stores events and alerts; closed at the end.
            on_alert: called with each alert, on the thread that detects.
            on_batch: called with each batch, on the same thread.
            open_actions: opens the records of actions and the executor's connection, once a rule requests any.
            reports: write what `lanner status` reads.
            quiet: print no messages and no status line.
        """
        self.summary = Summary()
        self.settings = settings
        self.latency = Histogram()
        """Seconds from an event to its alert."""
        self.turned_at = time.monotonic()
        self.is_started = False
        self.current: Freshness | None = None
        """How current detection is; None before it has begun."""
        self._tally = HostTally()
        self._newest: tuple[float, float] | None = None
        """When the newest event was made, and when it was evaluated; wall clock, s."""
        self._reported_at = 0.0 if reports else math.inf
        self.detection = detection
        """The active rules."""
        self._reload = reload
        self._settings_file = settings_file
        self._quiet = quiet
        self._status = StatusLine(sys.stderr, enabled=not quiet)
        self._open_sinks = sinks or self._own_sinks
        self.sinks: list[AlertDelivery] = self._open_sinks(settings)
        """Where alerts go now."""
        self._source = make_source(detection, self._take)
        self._problems = ProblemAlerts(self._source.hostname)
        self._watch = self._watched()
        self._recording = recording
        self._on_alert = on_alert
        self._on_batch = on_batch
        path = Path(settings.memory.filename) if settings.memory.enabled else None
        self.sessions = Sessions()
        """Names people in alerts."""
        self.evaluator = StatefulEvaluator(
            detection.ruleset, path, note=self._note, repeats=repeated_alerts(settings), sessions=self.sessions
        )
        """Detects, counts repeats and evaluates windows."""
        self._open_actions = open_actions
        self._actions: OneHostActions | None = None
        self._change_actions(detection)
        self._names = HostNames(detection.host_names)
        self._search: RecordedSearch | None = None
        self._indicators = self._followed()
        self.pods = PodRecords()
        """The API server's facts about this node's pods; empty unless a kubeconfig is configured."""
        self._stop_pods: Callable[[], None] | None = None
        self.audit_log: LocalAuditLog | None = None
        """Evaluates an audit log, if one is configured."""
        log = settings.kubernetes_audit
        if log.file is not None:
            # Imported here, because most hosts have none.
            from lanner.intake import local

            follower = local.log_follower(log.file, log.state_dir, self._note)
            self.audit_log = local.LocalAuditLog(follower, self.evaluator.process, self._note)

    def run(self, on_started: Callable[[], None] = lambda: None, *, until: Callable[[], bool] = lambda: False) -> None:
        """Run until a signal; always detaches from the kernel before it returns.

        Args:
            on_started: called once events are collected.
            until: ends the run when it returns true.

        Raises:
            EnvironmentLacks: this machine cannot collect events.
            BrokenPipeError: nobody reads standard output any more.
        """
        with Signals() as signals:
            try:
                self._source.start()
                if self.settings.kubernetes.kubeconfig is not None:
                    need("kubernetes", "lightkube")
                    # Imported here, because asyncio takes 4 MiB.
                    from lanner.wiring.stages.kubernetes import PodsOfNode

                    pods = PodsOfNode(self.settings, self.pods, self._source.hostname, self._note)
                    self._stop_pods = pods.stop
                if not self._quiet:
                    self._greet()
                self.is_started = True
                notify_systemd("READY=1")
                on_started()
                self.evaluator.begin_learning(self._past)
                self._turn(signals, until)
            finally:
                self._end()

    @property
    def off(self) -> Mapping[str, str]:
        """The features that are off under this kernel, each with the reason."""
        return self._source.off

    @property
    def evaluated_until(self) -> int:
        """Boot-clock time up to which all events have been evaluated, ns."""
        return self._source.emitted_until

    def _turn(self, signals: Signals, until: Callable[[], bool]) -> None:
        watchdog = Watchdog()
        chores_at = time.monotonic() + CHORES_SECONDS
        while not signals.stop and not until():
            may_rest = self.audit_log is None and not self.evaluator.is_learning
            rested = may_rest and self._source.rest(REST_SECONDS, signals.descriptor)
            self._source.poll(0 if rested else POLL_SECONDS)
            signals.drain()
            if self.audit_log is not None:
                self.summary.events += self.audit_log.poll(self._deliver)
            self.evaluator.learn(LEARNING_SECONDS)
            self.turned_at = time.monotonic()
            self._status.show(self.summary.status(self.evaluator.lost))
            watchdog.beat()
            if signals.take_reopen():
                for sink in self.sinks:
                    sink.reopen()
            cause = "SIGHUP" if signals.take_reload() else ""
            if time.monotonic() >= chores_at:
                chores_at = time.monotonic() + CHORES_SECONDS
                for alert in self.evaluator.advance_to(time.monotonic()):
                    self._deliver(alert)
                for alert in self._search.take() if self._search is not None else ():
                    self._deliver(alert)
                for alert in self._actions.poll() if self._actions is not None else ():
                    self._deliver(alert)
                self._look()
                if _nobody_reads(1):
                    raise BrokenPipeError
                if self.settings.watch_config_files and (changed := self._watch.changed()):
                    cause = cause or f"change of {_named(changed)}"
            if cause:
                self._reload_rules(cause)

    def _look(self) -> None:
        """Find out how current detection is, raise alerts about what began or ended, and report it."""
        now = time.time()
        made, evaluated = self._newest or (now, now)
        # Events come at least with each heartbeat of the collector, so an old delay means nothing now.
        is_late = evaluated - made > 1 and now - evaluated < _FRESH_SECONDS
        own = PipelineQueue("processor", "lanner run", "this host", 0, made if is_late else None)
        hosts = [] if self._newest is None else [replace(self._tally.host(), seen=int(now * 1000))]
        queues = [own, *map(sink_queue, self.sinks)]
        self.current = freshness(now, limits_of(self.settings), queues, hosts, disk_spaces(self.settings))
        for alert in self._problems.look(self.current):
            self._deliver(alert)
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            # On a full disk it can't be written; its age then shows that it isn't current.
            with suppress(OSError):
                write_report(self.settings, self.current)

    def _end(self) -> None:
        notify_systemd("STOPPING=1")
        self._status.close()
        if self._reported_at != math.inf:
            with suppress(OSError):
                remove_report(self.settings)
        try:
            self._source.stop()
            self._names.stop()
            self._indicators.stop()
            if self._search is not None:
                self._search.stop()
            if self._stop_pods is not None:
                self._stop_pods()
            if self.audit_log is not None:
                self.audit_log.close()
            for alert in self.evaluator.flush():
                self._deliver(alert)
        finally:
            if self._recording is not None:
                self._recording.close()
            if self._actions is not None:
                self._actions.close()
            for sink in self.sinks:
                sink.close()

    def _take(self, batch: EventBatch) -> None:
        """Evaluate a batch of the collector, deliver its alerts, and store it."""
        self.summary.events += batch.total
        batch.names = self._names.table
        for alert in self.evaluator.process(self.pods.join(batch)):
            self._deliver(alert)
        if self._newest is None or batch.lost or batch.watched or batch.narrowed:
            # What is watched is reported every few seconds; what else is shown of this host hardly changes until then.
            self._tally.see(head_of(batch), time.time_ns() // 1_000_000)
        if batch.count:
            self._newest = batch.columns["time"][-1] / 1e9, time.time()
        if self._recording is not None:
            self._recording.store(batch)
        if self._on_batch is not None:
            self._on_batch(batch)

    def _deliver(self, alert: Alert) -> None:
        """Count and store an alert, and pass it to all sinks."""
        alert = alert.in_cluster(self.settings.cluster_name or "")
        self.summary.count(alert)
        self.latency.add_since(alert.time, time.time_ns())
        if self._recording is not None:
            self._recording.store_alert(alert)
        if self._on_alert is not None:
            self._on_alert(alert)
        for sink in self.sinks:
            sink.deliver(alert)
        for about in self._actions.take(alert) if self._actions is not None else ():
            self._deliver(about)

    def _change_actions(self, detection: CompiledDetection) -> None:
        by_rule = policies_by_rule(detection.active_rules.actions, detection.active_rules.rules)
        if self._actions is None and by_rule and self._open_actions is not None:
            try:
                self._actions = self._open_actions()
            except LannerError as error:
                self._note(f"actions are only stated: {error}.", "error")
        if self._actions is not None:
            self._actions.change_policies(by_rule)

    def _reload_rules(self, cause: str) -> None:
        """Change to new settings and rules; if they are wrong, print why and keep the previous ones."""
        notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            settings, detection = self._reload()
            chosen = collected(settings, detection)
            # A route's condition may use a macro that changed.
            if settings != self.settings or conditions_of(settings):
                sinks = self._open_sinks(settings)
                for sink in self.sinks:
                    sink.close()
                self.sinks = sinks
        except BadInput as error:
            self._status.clear()
            for message in error.messages:
                error_line(message)
            error_line("keeping the previous settings and rules.")
        else:
            self._source.watch(
                chosen.event_types,
                chosen.pushdown_filter if settings.collector.pushdown else None,
                variables=detection.variables,
            )
            changes = self._report_change(detection, cause)
            self.settings, self.detection = settings, detection
            self.evaluator.change_rules(detection.ruleset)
            self._change_actions(detection)
            self.evaluator.begin_learning(self._past)
            self._names.stop()
            self._names = HostNames(detection.host_names)
            self._indicators.stop()
            self._indicators = self._followed()
            self._watch = self._watched()
            what = (
                f"rules changed: {count_of(changes, 'change')}" if changes else "settings read again, no rule changed"
            )
            self._note(f"{what} after {cause}; {active_text(detection)}.")
        notify_systemd("READY=1")

    def _report_change(self, detection: CompiledDetection, cause: str) -> int:
        """Report a change of the rules as an alert; return the number of changed rules, macros and lists."""
        changed = difference(self.detection.active_rules, detection.active_rules)
        if changed:
            changes = lines(changed, _MAX_CHANGES)
            origin, hostname = detection.origin, self._source.hostname
            alert = rules_changed(
                (hostname, origin),
                time.time_ns(),
                f"{active_text(detection)} after {cause}",
                changes,
                {"rules.origin": origin, "rules.cause": cause},
                hostname=hostname,
            )
            self._deliver(alert)
        return len(changed)

    def _followed(self) -> IndicatorFiles:
        if self._search is not None:
            self._search.stop()
            self._search = None
        lists = self.detection.active_rules.indicators.values() if self.settings.watch_config_files else ()
        if not lists or self._recording is None or not self.settings.keep.indicator_search:
            return IndicatorFiles(lists, self._note)
        # Imported here, because most runs search nothing.
        from lanner.hunting.new_matches import RecordedSearch, own_rules

        choices, active = rule_choices(self.settings), self.detection.active_rules
        store = RecordingStore(Path(self.settings.keep.folder), self._note)
        self._search = RecordedSearch(
            store,
            lambda: searched_rules(choices, own_rules(list(filter(uses_lists, active.rules))), active, self._note),
            lambda: repeated_alerts(self.settings),
            self._note,
        )
        return IndicatorFiles(lists, self._note, on_change=self._search.changed)

    def _watched(self) -> FileWatch:
        extra = [] if self._settings_file is None else [self._settings_file.absolute()]
        return FileWatch([*self.detection.watched, *extra])

    def _greet(self) -> None:
        for line in self.detection.notices:
            note(line)
        act = "Try: sudo cat /etc/shadow   " if self.detection.detects_shadow_read() else ""
        note(
            f"lanner {_short_version()}: watching {self._source.hostname} (kernel {_short(self._source.kernel)}), "
            f"{active_text(self.detection)}. {act}Stop: Ctrl-C"
        )

    def _past(self) -> Iterator[StoredBatch]:
        """Yield the batches that an earlier run or this one recorded; none if there is no recording."""
        with suppress(BadInput):
            yield from RecordingStore(Path(self.settings.keep.folder), note).batches(EventRange(0), lambda: False)

    def _own_sinks(self, settings: Settings) -> list[AlertDelivery]:
        sinks = open_sinks(settings, enabled_sinks(settings), note=self._note, before_line=self._status.clear)
        report_orphaned_outboxes(Path(settings.notifier.state_dir), [sink.name for sink in sinks], self._note)
        return sinks

    def _note(self, text: str, level: Level = "info", /) -> None:
        self._status.clear()
        note(text, level)


def _named(changed: Sequence[Path]) -> str:
    """Return the files that changed; the folder of a named file is left out."""
    parents = {path.parent for path in changed}
    named = [path for path in dict.fromkeys(changed) if path not in parents]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return ", ".join(map(str, named[:_MAX_NAMED])) + more


def _short_version() -> str:
    import lanner

    return ".".join(lanner.__version__.split(".")[:2])


def _short(release: str) -> str:
    """Return 6.18.44 for 6.18.44-amd64: the part that people compare."""
    return release.split("-", maxsplit=1)[0]


def _nobody_reads(descriptor: int) -> bool:
    """Return whether the other end of a pipe is closed; never true for a file or terminal."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(happened & select.POLLERR for _, happened in poll.poll(0))
