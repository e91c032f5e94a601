"""All stages in one process: collector, bus, detector, sinks, and what keeps them turning."""

import select
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bus.latency import Histogram
from bus.local import LocalBus
from lanner.cli import systemd
from lanner.cli.file_watch import FileWatch
from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, error_line, note
from lanner.cli.terminal.run_summary import Summary
from lanner.errors import BadInput
from lanner.recorder.rolling import RollingRecording
from lanner.ruleset.compile import CompiledDetection, internal_alert, repeated_alerts
from lanner.ruleset.host_names import HostNames
from lanner.settings import Settings
from lanner.wiring.routes.conditions import conditions_of
from lanner.wiring.single_host.loss_reports import LossReporter
from lanner.wiring.single_host.orphaned_outboxes import tell_of_left
from lanner.wiring.single_host.sinks import enabled_sinks, open_sinks
from lanner.wiring.single_host.state_file import StatefulEvaluator
from notifier.delivery.outputs import AlertDelivery
from processor.correlation.correlator import Correlator
from processor.detection.internal_alerts import GROUPS_EVICTED, RULES_CHANGED
from processor.evaluator import CompiledRuleset
from processor.loading.difference import difference, lines
from schemas.alert import Alert, Value
from schemas.batch import EventBatch
from schemas.filter import PushdownFilter

POLL_SECONDS = 0.1
CHORES_SECONDS = 1.0
EVENTS_LOST = "Lanner internal: events lost"
_MAX_NAMED = 5
_MAX_CHANGES = 50


class Source(Protocol):
    """What events come from: the collector, as far as a pipeline needs it."""

    @property
    def kernel(self) -> str:
        """The kernel's release."""

    @property
    def hostname(self) -> str:
        """The host's name."""

    def start(self) -> None:
        """Begin to watch. Raises EnvironmentLacks."""

    def poll(self, timeout: float) -> None:
        """Deliver what has happened, on this thread, for about timeout seconds."""

    def watch(
        self,
        event_types: frozenset[str],
        interest: PushdownFilter | None = None,
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Watch other event types, leave out others, and collect environment variables of some names, from now on."""

    def stop(self) -> None:
        """Deliver what is left, and detach."""


class Pipeline:
    """One run: its parts, its counts, and the loop."""

    def __init__(
        self,
        settings: Settings,
        detection: CompiledDetection,
        make_source: Callable[[CompiledDetection, Callable[[EventBatch], None]], Source],
        *,
        reload: Callable[[], tuple[Settings, CompiledDetection]],
        settings_file: Path | None = None,
        sinks: Callable[[Settings], list[AlertDelivery]] | None = None,
        quiet: bool = False,
    ) -> None:
        """Put the parts together; nothing is started yet.

        make_source gives the collector for a detection's event types; reload reads settings and rules anew and raises
        BadInput if they are wrong; settings_file is watched beside the rule files; sinks stands in for those that the
        settings ask for.
        """
        self.summary = Summary()
        self.settings = settings
        self.latency = Histogram()
        """From an event to its alert."""
        self.turned_at = time.monotonic()
        self.is_started = False
        self.observe: Callable[[EventBatch], None] = lambda _: None
        """Shown each batch after it was judged."""
        self._detection = detection
        self._reload = reload
        self._settings_file = settings_file
        self._quiet = quiet
        self._status = StatusLine(sys.stderr, wanted=not quiet)
        self._teller = LossReporter()
        self._lost: Counter[str] = Counter()
        self._bus = LocalBus()
        self._bus.events.subscribe(self._detect)
        self._bus.alerts.subscribe(self._deliver)
        self._open_sinks = sinks or self._own_sinks
        self._sinks: list[AlertDelivery] = self._open_sinks(settings)
        self._source = make_source(detection, self._bus.events.publish)
        self._watch = self._watched()
        self._kept: RollingRecording | None = None
        if settings.keep.size_mib is not None:
            folder, limit = Path(settings.keep.folder), settings.keep.size_mib << 20
            self._kept = RollingRecording(folder, limit, on_trouble=self._note)
            self._bus.events.subscribe(self._kept.keep)
        path = Path(settings.memory.filename) if settings.memory.enabled else None
        self._memory = StatefulEvaluator(detection.judges, path, note=self._note, repeats=repeated_alerts(settings))
        self._names = HostNames(detection.host_names)

    def run(self, on_started: Callable[[], None] = lambda: None, *, until: Callable[[], bool] = lambda: False) -> None:
        """Detect until a signal or until says so; always detaches from the kernel before it returns.

        on_started is called once events flow. Raises EnvironmentLacks, and BrokenPipeError when nobody reads standard
        output any more.
        """
        with Signals() as signals:
            try:
                self._source.start()
                if not self._quiet:
                    self._greet()
                self.is_started = True
                systemd.notify("READY=1")
                on_started()
                self._turn(signals, until)
            finally:
                self._end()

    @property
    def judges(self) -> CompiledRuleset:
        """The rules in force, compiled."""
        return self._detection.judges

    @property
    def sinks(self) -> Sequence[AlertDelivery]:
        """Where alerts go now."""
        return self._sinks

    @property
    def correlator(self) -> Correlator:
        """The memory of rules."""
        return self._memory.correlator

    @property
    def redated(self) -> int:
        """Events whose time could not be and was set to the nearest that can."""
        return self._memory.redated

    @property
    def repeated(self) -> Mapping[str, int]:
        """Alerts by rule that were counted because they repeat others."""
        return self._memory.repeats.counted

    def losses(self) -> Mapping[str, int]:
        """Give the number of lost events by reason."""
        return self._lost

    def _turn(self, signals: Signals, until: Callable[[], bool]) -> None:
        watchdog = systemd.Watchdog()
        chores_at = time.monotonic() + CHORES_SECONDS
        while not signals.stop and not until():
            self._source.poll(POLL_SECONDS)
            self.turned_at = time.monotonic()
            self._status.show(self.summary.status(self._lost))
            watchdog.beat()
            if signals.take_reopen():
                for sink in self._sinks:
                    sink.reopen()
            asked = "SIGHUP" if signals.take_reload() else ""
            if time.monotonic() >= chores_at:
                chores_at = time.monotonic() + CHORES_SECONDS
                for alert in self._memory.tick(time.monotonic()):
                    self._bus.alerts.publish(alert)
                self._tell_losses()
                if _nobody_reads(1):
                    raise BrokenPipeError
                if self.settings.watch_config_files and (changed := self._watch.changed()):
                    asked = asked or f"change of {', '.join(map(str, changed[:_MAX_NAMED]))}"
            if asked:
                self._take_new_rules(asked)

    def _end(self) -> None:
        systemd.notify("STOPPING=1")
        self._status.clear()
        self._status.on = False
        try:
            self._source.stop()
            self._names.stop()
            for alert in self._memory.end():
                self._bus.alerts.publish(alert)
            self._tell_losses(final=True)
        finally:
            if self._kept is not None:
                self._kept.close()
            for sink in self._sinks:
                sink.close()

    def _detect(self, batch: EventBatch) -> None:
        self.summary.events += batch.total
        self._lost.update(batch.lost)
        for alert in self._memory.process(self._names.named(batch)):
            self._bus.alerts.publish(alert)
        self.observe(batch)

    def _deliver(self, alert: Alert) -> None:
        self.summary.count(alert)
        self.latency.add(max(0.0, (time.time_ns() - alert.time) / 1e9))
        for sink in self._sinks:
            sink.deliver(alert)

    def _tell_losses(self, *, final: bool = False) -> None:
        if forgotten := self._memory.take_evicted():
            self._lost[GROUPS_EVICTED] += forgotten
        fresh = self._teller.due(self._lost, time.monotonic(), final=final)
        if fresh:
            reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(fresh.items()))
            text = f"{sum(fresh.values())} events were lost | {reasons}"
            self._bus.alerts.publish(internal_alert(EVENTS_LOST, text, fresh, hostname=self._source.hostname))

    def _take_new_rules(self, cause: str) -> None:
        """Change to new settings and rules; if they are wrong, say why and go on with the old."""
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            settings, detection = self._reload()
            # A route's condition may use a macro that changed.
            if settings != self.settings or conditions_of(settings):
                sinks = self._open_sinks(settings)
                for sink in self._sinks:
                    sink.close()
                self._sinks = sinks
        except BadInput as error:
            self._status.clear()
            for message in error.messages:
                error_line(message)
            error_line("the settings and rules in force stay.")
        else:
            self._source.watch(
                detection.event_types,
                detection.interest if settings.collector.pushdown else None,
                variables=detection.variables,
            )
            self._tell_change(detection, cause)
            self.settings, self._detection = settings, detection
            self._memory.change_rules(detection.judges)
            self._names.stop()
            self._names = HostNames(detection.host_names)
            self._watch = self._watched()
            self._note(f"rules changed: {detection.count} in force.")
        systemd.notify("READY=1")

    def _tell_change(self, detection: CompiledDetection, cause: str) -> None:
        changes = lines(difference(self._detection.in_force, detection.in_force), _MAX_CHANGES)
        if changes:
            origin = detection.origin
            text = f"{detection.count} rules from {origin} are in force after {cause} | {'; '.join(changes)}"
            fields: dict[str, Value] = {"rules.origin": origin, "rules.cause": cause, "rules.changes": changes}
            hostname = self._source.hostname
            self._bus.alerts.publish(internal_alert(RULES_CHANGED, text, fields, hostname=hostname, priority="Notice"))

    def _watched(self) -> FileWatch:
        extra = [] if self._settings_file is None else [self._settings_file.absolute()]
        return FileWatch([*self._detection.watched, *extra])

    def _greet(self) -> None:
        for line in self._detection.notices:
            note(line)
        note(
            f"lanner {_short_version()}: watching {self._source.hostname} (kernel {_short(self._source.kernel)}), "
            f"{self._detection.count} rules from {self._detection.origin}. "
            "Try: sudo cat /etc/shadow   Stop: Ctrl-C"
        )

    def _own_sinks(self, settings: Settings) -> list[AlertDelivery]:
        sinks = open_sinks(settings, enabled_sinks(settings), note=self._note, before_line=self._status.clear)
        tell_of_left(Path(settings.notifier.state_dir), [sink.name for sink in sinks], self._note)
        return sinks

    def _note(self, text: str) -> None:
        self._status.clear()
        note(text)


def _short_version() -> str:
    import lanner  # noqa: PLC0415

    return ".".join(lanner.__version__.split(".")[:2])


def _short(release: str) -> str:
    """Give 6.18.44 of 6.18.44-amd64: what a person compares."""
    return release.split("-", maxsplit=1)[0]


def _nobody_reads(descriptor: int) -> bool:
    """Tell whether the far end of a pipe is closed; a file or terminal never is."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(happened & select.POLLERR for _, happened in poll.poll(0))
