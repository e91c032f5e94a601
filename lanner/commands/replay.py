"""`lanner replay`: evaluates today's rules on recorded events."""

import fnmatch
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import chain
from pathlib import Path

import click

from foundation.text import count_of, printable
from lanner.cli.app import ALERT_FORMATS, Options, front_command
from lanner.cli.options import time_ms
from lanner.errors import BadInput
from lanner.process import Signals
from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.json_file import JsonFile, is_json_file
from lanner.recorder.recording import incident_lines, read_incident
from lanner.recorder.store import EventRange, StoredBatch, from_files, is_archive, is_recorded
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.refreshing import HostNames
from lanner.settings import Settings
from lanner.sources.installed import source_named
from lanner.terminal.alert_text import Summary
from lanner.terminal.output import StatusLine, note
from lanner.wiring.routers import open_sinks
from lanner.wiring.rules import load_detection
from lanner.wiring.stores import open_events
from processor.evaluator import Evaluator
from processor.fields.json.documents import KUBERNETES, Document, JsonSource
from processor.sessions.sessions import Sessions
from schemas.alert import Alert

_NAME_SECONDS = 5
"""Time to wait for the addresses of host names in rules; today's addresses, because past ones weren't recorded."""


@front_command(
    "replay",
    example="lanner replay incident.avro --rules my_rules.yaml\n"
    "lanner replay capture.scap.gz --rules my_rules.yaml\n"
    "lanner replay /var/lib/lanner/kept --rules draft.yaml\n"
    "lanner replay audit.log --rules k8s_audit_rules.yaml\n"
    "lanner replay events.jsonl --source github --rules github.yaml\n"
    "lanner replay --topic --since 24h --rules draft.yaml --host 'web-*'\n"
    "lanner replay /var/lib/lanner-archive --since 90d --rules draft.yaml",
    formats=ALERT_FORMATS,
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--topic", is_flag=True, help="Evaluate the fleet's retained events.")
@click.option(
    "--since",
    metavar="TIME",
    help="With --topic or an archive: a duration before now (24h), or a time.  [default: 24h]",
)
@click.option("--until", metavar="TIME", help="With --topic or an archive: not later than this.  [default: now]")
@click.option("--host", metavar="PATTERN", default="*", help="Only hosts with this name; * matches any text.")
@click.option(
    "--source", metavar="NAME", help="Files of JSON are of this source: github, okta, your own; else k8s_audit."
)
def command(
    options: Options,
    *,
    files: tuple[Path, ...],
    topic: bool,
    since: str | None,
    until: str | None,
    host: str,
    source: str | None,
) -> None:
    """Run recorded events through the rules; needs no kernel and no privileges.

    FILES are recordings, folders of them as `lanner run` writes, captures (.scap, also compressed by gzip) of Falco,
    sysdig or Stratoshark, or logs of Kubernetes audit events: files of JSON, an event or a list of events in each line.
    With --source, all files but recordings and captures are JSON of that source. Files of JSON and recordings are
    evaluated together, by time. /dev/stdin reads a pipe. With --topic, the fleet's retained events are evaluated.
    Nothing is published or sent. The output states what was not collected at that time: rules that need it can't have
    matched. `lanner rules backtest` counts alerts instead, by rule, day, host and image.
    """
    is_json = source is not None or any(map(is_json_file, files))
    has_times = bool(since or until)
    _check_usage(files, topic=topic, has_times=has_times, is_hosts_chosen=host != "*", is_json=is_json)
    settings = options.settings()
    of_files = None if source is None else source_named(settings, source)
    detection = load_detection(settings, warnings=not options.quiet)
    if not options.quiet:
        for line in detection.notices:
            note(line)
    sources = [(path, _source_of(path, of_files)) for path in files]
    evaluation = _Evaluation(detection, any(source is not None for _, source in sources))

    def is_selected(stored: StoredBatch) -> bool:
        return fnmatch.fnmatchcase(stored.batch.hostname, host) or stored.batch.host_id == host

    if not (topic or has_times):
        _replay(options, settings, evaluation, _in_order(options, evaluation, sources, is_selected))
        return
    now = time.time_ns() // 1_000_000
    events = EventRange(time_ms(since or "24h", "--since", now) or 0, time_ms(until, "--until", now))
    if events.until is not None and events.until <= events.since:
        raise BadInput("--until is not after --since.")
    with Signals() as signals:
        batches = open_events(settings, files[0] if files else None, note).batches(events, lambda: signals.stop)
        _replay(options, settings, evaluation, (each for each in batches if is_selected(each)), batches.remarks)
        if not (options.quiet or batches.remarks or evaluation.coverage.hosts):
            note("no events of this time are stored.")


def _check_usage(
    files: tuple[Path, ...], *, topic: bool, has_times: bool, is_hosts_chosen: bool, is_json: bool
) -> None:
    if topic == bool(files):
        raise click.UsageError("give either recordings or --topic.")
    if has_times and not topic and [*map(is_archive, files)] != [True]:
        raise click.UsageError("--since and --until go with --topic or one archive.")
    if is_json and (is_hosts_chosen or topic):
        raise click.UsageError("--host and --topic select events of hosts, not events that are JSON.")


def _source_of(path: Path, chosen: JsonSource | None) -> JsonSource | None:
    """Return the source of a file of JSON; None for a recording."""
    if chosen is None:
        return KUBERNETES if is_json_file(path) else None
    return None if is_recorded(path) else chosen


@dataclass(slots=True)
class _Evaluation:
    """The rules, and what to report at the end."""

    detection: CompiledDetection
    has_json: bool = False
    """True if JSON events are evaluated, which may name people."""
    summary: Summary = field(default_factory=Summary)
    coverage: RecordingCoverage = field(default_factory=RecordingCoverage)
    sources: set[str] = field(default_factory=set)
    """The sources of the files of JSON that were read."""
    _evaluator: Evaluator = field(init=False)
    _names: HostNames = field(init=False)

    def __post_init__(self) -> None:
        self._evaluator = Evaluator(self.detection.ruleset, sessions=Sessions() if self.has_json else None)
        self._names = HostNames(self.detection.host_names)
        self._names.wait(_NAME_SECONDS)

    def take(self, stored: StoredBatch) -> list[Alert]:
        """Evaluate the rules on a batch and return the alerts."""
        self.summary.events += stored.events
        self.coverage.see(stored)
        stored.batch.names = self._names.table
        return self._evaluator.replay(stored.batch)

    def take_json(self, event: Document) -> list[Alert]:
        """Evaluate the rules on an event that is JSON and return the alerts."""
        self.summary.events += 1
        return self._evaluator.replay(event)

    def finish(self) -> list[Alert]:
        """Return the alerts of windows that are still open."""
        return self._evaluator.correlator.finish()

    def not_collected(self) -> list[str]:
        """Return sentences on the events that the rules can't have seen."""
        return not_collected(self.detection.event_types, self.detection.pushdown_filter, self.coverage.hosts)


def _replay(
    options: Options,
    settings: Settings,
    evaluation: _Evaluation,
    items: Iterable[StoredBatch | Document],
    remarks: Sequence[str] = (),
) -> None:
    """Print the alerts of events, and then what was not seen. remarks: complete once the events were read."""
    summary = evaluation.summary
    # Old alerts go to standard output only, whatever sinks and routes the settings name.
    printed = replace(settings, routes=(), mute=())
    sinks = open_sinks(printed, ("stdout",), note=note, before_line=lambda: None)

    status = StatusLine(sys.stderr, enabled=not options.quiet)

    def send(alerts: list[Alert]) -> None:
        if alerts:
            status.clear()
        for alert in alerts:
            summary.count(alert)
            for sink in sinks:
                sink.deliver(alert)

    try:
        for item in items:
            send(evaluation.take_json(item) if isinstance(item, Document) else evaluation.take(item))
            status.show(f"{count_of(summary.events, 'event')}, {count_of(summary.alerts, 'alert')}")
        status.clear()
    except BadInput as error:
        status.clear()
        if not summary.events:
            raise
        text = f"evaluated before that: {count_of(summary.events, 'event')}."
        raise BadInput(f"{error.messages[0].removesuffix('.')}; {text}") from None
    send(evaluation.finish())
    if not options.quiet:
        for line in summary.lines(evaluation.coverage.lost()):
            note(line)
        for name in sorted(evaluation.sources - evaluation.detection.ruleset.sources):
            note(f"no active rule has the source {name}, so none of its events can match.")
        faults = evaluation.detection.ruleset.faults()
        for name, fault in evaluation.detection.ruleset.first_errors().items():
            note(f"rule {name!r} failed {faults[name]:,} times: {fault}")
        for sentence in (*remarks, *evaluation.not_collected()):
            note(f"not seen by these rules: {printable(sentence)}")


def _in_order(
    options: Options,
    evaluation: _Evaluation,
    files: Sequence[tuple[Path, JsonSource | None]],
    is_selected: Callable[[StoredBatch], bool],
) -> Iterator[StoredBatch | Document]:
    """Yield the contents of files: one after the other; by time if some are of JSON, because windows may take both."""
    streams: list[Iterator[StoredBatch | Document]] = [
        _batches(path, options, evaluation, is_selected) if source is None else _events(path, source, evaluation)
        for path, source in files
    ]
    if any(source is not None for _, source in files):
        return merge(*streams, key=_time_of)
    return chain.from_iterable(streams)


def _time_of(item: StoredBatch | Document) -> int:
    """Return when an event or a batch was complete, ns."""
    return item.time if isinstance(item, Document) else max(item.batch.columns["time"], default=0)


def _batches(
    path: Path, options: Options, evaluation: _Evaluation, is_selected: Callable[[StoredBatch], bool]
) -> Iterator[StoredBatch]:
    if not options.quiet and path.is_file() and (stated := read_incident(path)) is not None:
        for line in incident_lines(stated):
            note(f"{path}: {printable(line)}")
    stored: Iterable[StoredBatch]
    if is_archive(path):
        stored = open_events(options.settings(), path, note).batches(EventRange(0), lambda: False)
    else:
        stored = from_files((path,), exclusions=evaluation.detection.exclusions, note=note)
    yield from filter(is_selected, stored)


def _events(path: Path, source: JsonSource, evaluation: _Evaluation) -> Iterator[Document]:
    log = JsonFile(path, source)
    yield from log.events()
    evaluation.sources.add(source.name)
    if log.unreadable:
        lines = count_of(log.unreadable, "line")
        note(f"{path}: {lines} can't be read and were not evaluated; the first is {log.first_unreadable}.")
