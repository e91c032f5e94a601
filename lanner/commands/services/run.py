"""`lanner run`: all stages in one process, for this host."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.text import count_of
from lanner.cli.app import ALERT_FORMATS, Options, front_command
from lanner.cli.options import size_mib
from lanner.process import (
    avro_without_snappy,
    collect_cycles_rarely,
    hash_without_openssl,
    keep_memory_small,
    return_free_memory,
)
from lanner.settings import LoadedSettings, Settings, find_file
from lanner.terminal.output import note

if TYPE_CHECKING:
    from lanner.actions.one_host import OneHostActions
    from lanner.ruleset.compile import CompiledDetection
    from lanner.wiring.stages.collector import Source
    from lanner.wiring.stages.consoles import HostConsole
    from lanner.wiring.stages.single_host import Pipeline
    from processor.detection.rule_timing import RuleTiming
    from schemas.batch import EventBatch


@front_command(
    "run",
    example="sudo lanner run --format json\nsudo lanner run --keep 256MB\nsudo lanner run --metrics 8774",
    formats=ALERT_FORMATS,
)
@click.option("--no-pushdown", is_flag=True, help="Evaluate every event in user space; the kernel drops none.")
@click.option("--metrics", metavar="[ADDRESS:]PORT", help="Serve metrics and health over HTTP at this address.")
@click.option(
    "--keep",
    metavar="SIZE",
    help="Size of the recording of the newest events and alerts, such as 256MB; 0 for none.  [default: 64MiB]",
)
def command(options: Options, *, no_pushdown: bool, keep: str | None, metrics: str | None) -> None:
    """Watch this host: all stages in this process, alerts on standard output.

    SIGHUP reloads settings and rules, SIGUSR1 reopens log files, Ctrl-C stops and prints a summary.
    """
    collect_cycles_rarely()
    keep_memory_small()
    hash_without_openssl()
    from lanner.wiring.program import load_program

    def read() -> LoadedSettings:
        loaded = options.load()
        settings = loaded.settings
        if no_pushdown:
            settings = replace(settings, collector=replace(settings.collector, pushdown=False))
        if keep is not None:
            settings = replace(settings, keep=replace(settings.keep, size_mib=size_mib(keep)))
        return replace(loaded, settings=settings)

    loaded = read()
    # The rest is imported, and the rules are compiled, while the kernel verifies it.
    program = load_program(loaded.settings)
    avro_without_snappy()
    from collector.bpf.program import check_rights
    from collector.settings import CACHE
    from lanner.wiring.check import check_settings
    from lanner.wiring.stages.collector import make_collector
    from lanner.wiring.stages.single_host import Pipeline
    from lanner.wiring.stores import collected, open_recording
    from processor.detection.rule_timing import RuleTiming

    def compiled(loaded: LoadedSettings) -> "tuple[Settings, CompiledDetection]":
        detection = check_settings(loaded, "run", warnings=not options.quiet, folder=CACHE)
        assert detection is not None  # noqa: S101  an error in the rules was raised
        return loaded.settings, detection

    settings, detection = compiled(loaded)
    # Before anything is opened or written, which would be reported first.
    check_rights()

    def collector(detection: "CompiledDetection", take: "Callable[[EventBatch], None]") -> "Source":
        chosen = collected(settings, detection)
        return make_collector(
            settings,
            chosen.event_types,
            take,
            pushdown_filter=chosen.pushdown_filter,
            variables=detection.variables,
            loading=program,
            on_note=note,
        )

    if settings.log_format is not None:
        from lanner.terminal.logs import log_to_stderr

        log_to_stderr(settings.log_level, settings.log_format, "run")
    return_free_memory()
    with _console(settings) as console:
        pipeline = Pipeline(
            settings,
            detection,
            collector,
            reload=lambda: compiled(read()),
            settings_file=find_file(options.config, os.environ),
            recording=open_recording(settings, note),
            on_alert=None if console is None else console.alerts.put,
            on_batch=None if console is None else console.host.see,
            open_actions=lambda: _actions(settings),
            reports=True,
            quiet=options.quiet,
        )
        has_metrics = metrics is not None or settings.http.listen is not None
        if has_metrics or console is not None:
            timing = RuleTiming(lambda: pipeline.detection.ruleset.detector)
            pipeline.evaluator.add_observer(timing.see)
            if console is not None:
                console.host.attach(lambda: pipeline.detection.active_rules, lambda: timing.seconds)
                console.read_current = lambda: pipeline.current
        if has_metrics:
            _run_with_metrics(pipeline, timing, settings, metrics)
        else:
            pipeline.run()
    if not options.quiet:
        for line in pipeline.summary.lines(pipeline.evaluator.lost):
            note(line)


def _actions(settings: Settings) -> "OneHostActions":
    from collector.actions.socket import ActionsClient
    from lanner.actions.one_host import LocalActionRecords, OneHostActions

    records = LocalActionRecords(Path(settings.actions.state_dir), creates=True)
    return OneHostActions(records, ActionsClient(Path(settings.collector.actions.socket), note=note), note)


@contextmanager
def _console(settings: Settings) -> Iterator["HostConsole | None"]:
    """Serve the console if it is enabled, and yield it. Raises BadInput."""
    if not settings.console.enabled:
        yield None
        return
    # Imported here, because aiohttp takes 20 MiB.
    from lanner.wiring.stages.consoles import HostConsole

    console = HostConsole(settings, note)
    note(f"console at {console.console.address}")
    try:
        yield console
    finally:
        console.console.stop()
        if console.alerts.dropped:
            note(
                f"console: {count_of(console.alerts.dropped, 'alert')} came too fast, and can't be seen there.",
                "warning",
            )


def _run_with_metrics(pipeline: "Pipeline", timing: "RuleTiming", settings: Settings, address: str | None) -> None:
    from lanner.operations.run import RunView
    from lanner.wiring.servers import endpoint

    view = RunView(pipeline, timing, lambda: pipeline.settings.http)
    with endpoint(settings, "run", view.readings, view.health(), flag=address):
        pipeline.run()
