"""`lanner prove`: runs attack steps for real, and reports what Lanner detected."""

import dataclasses
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from foundation.errors import EnvironmentUnsupported
from foundation.text import count_of, printable
from lanner.cli.app import Options, front_command
from lanner.cli.options import write_text
from lanner.errors import BAD_INPUT, BadInput
from lanner.libraries import need
from lanner.prove.atomics import AtomicTest, BadAtomic, read_folder
from lanner.prove.grades import RaisedAlert, TestResult, by_technique, counts, navigator_layer
from lanner.prove.hosts import NAMESPACE_START, Guests, ThisHost
from lanner.prove.image import RECIPE, NoDebian, make_image
from lanner.prove.recording import RecordedRun, RunRecorder
from lanner.prove.run import DEFAULT_SECONDS, Prover
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.sections.model import Selection, Target
from lanner.settings.sections.sinks import AppendOutput, ExtraField
from lanner.terminal.output import StatusLine, note
from lanner.terminal.tables import print_table
from lanner.wiring.rules import load_detection, repeated_alerts
from lanner.wiring.stages.single_host import pipeline_into
from schemas.batch import EventBatch, events_lost
from schemas.catalog.attack import TECHNIQUES

_RING_MIB, _LIFECYCLE_RING_MIB = 64, 16
IMAGE = Path("/var/cache/lanner") / f"guest-{RECIPE}"


@front_command("prove", example="sudo lanner prove atomic-red-team/atomics")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Root directory of the guests; by default a Debian that is built in the cache.",
)
@click.option(
    "--on-this-host/--guest",
    default=False,
    help="Run the tests on this host instead, which must be one that can be lost; by default in guests.",
)
@click.option(
    "--confirm", metavar="NAME", help="This host's name, for --on-this-host in scripts; else it is asked for."
)
@click.option("--only", multiple=True, metavar="ID", help="Only this technique, or test by GUID; repeatable.")
@click.option("--guests", type=click.IntRange(1, 16), default=3, show_default=True, help="Guests at a time.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Stop a test's command after so many.",
)
@click.option(
    "--recording",
    type=click.Path(path_type=Path, file_okay=False),
    help="Record what the guests do into this folder, with all that the loaded rules need, disabled ones included.",
)
@click.option("--for", "others", multiple=True, metavar="FILES", help="... and what these rule files need; repeatable.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Evaluate the rules on a recording of such a run instead; runs nothing, and needs no privileges.",
)
@click.option(
    "--navigator", type=click.Path(path_type=Path, dir_okay=False), help="Write a layer for ATT&CK Navigator."
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with all results.")
def command(
    options: Options,
    folder: Path,
    *,
    image: Path | None,
    on_this_host: bool,
    confirm: str | None,
    only: tuple[str, ...],
    guests: int,
    seconds: float,
    recording: Path | None,
    others: tuple[str, ...],
    replay: Path | None,
    navigator: Path | None,
    html: Path | None,
) -> int:
    """Run the Linux tests of a folder in the format of Atomic Red Team, and report what was detected.

    Each test runs in a throw-away guest: namespaces of its own on this kernel, with the root directory of --image below
    an overlay that vanishes with them. Guests don't hold back who wants to leave them: run only tests that you trust,
    and on a machine that you can lose. --on-this-host runs them here instead, one by one; reinstall it
    afterwards.

    Exit codes: 0 if each test has a result, whatever it is; 1 if a file is wrong, no test ran or Ctrl-C ended the run;
    2 for wrong options; 3 if this machine can't build the guests' root directory or collect events.
    """
    if html is not None:
        need("console", "aiohttp", "jinja2")
    tests, problems = read_folder(folder)
    for problem in problems:
        _report(problem)
    chosen = _chosen(tests, only)
    if others and recording is None:
        raise click.UsageError("--for goes with --recording.")
    if on_this_host and not {image, recording, replay} <= {None}:
        raise click.UsageError("--on-this-host doesn't go with --image, --recording or --replay.")
    where = f"Guests of {platform.node()}, kernel {platform.release()}"
    if replay is not None:
        results = _replayed(options, chosen, RecordedRun(replay))
    elif on_this_host:
        where = where.removeprefix("Guests of ")
        _confirm(chosen, confirm)
        results = _prove(options, chosen, ThisHost(folder), workers=1, seconds=seconds)
    else:
        need("processor", "cryptography")
        from lanner.prove.sinkhole import Sinkhole

        if image is None:
            image = IMAGE
            _make(image)
        with Sinkhole() as sinkhole:
            site = Guests(image, folder, sinkhole)
            results = _prove(options, chosen, site, workers=guests, seconds=seconds, recording=recording, others=others)
    if options.format == "json":
        click.echo(json.dumps([_as_json(result) for result in results], indent=2))
    else:
        _summary(results)
    if navigator is not None:
        write_text(navigator, json.dumps(navigator_layer(results), indent=2) + "\n")
    if html is not None:
        from lanner.prove.page import html_page

        write_text(html, html_page(results, where, time.time_ns() // 1000))
    return BAD_INPUT if problems or len(results) < len(chosen) else 0


def _make(image: Path) -> None:
    try:
        make_image(image, lambda step: click.echo(f"building the guests' root directory {image}: {step}", err=True))
    except NoDebian as error:
        raise EnvironmentUnsupported(str(error), "--image takes a root directory that was built elsewhere") from None


def _report(problem: BadAtomic) -> None:
    hint = f"\n  {printable(problem.hint)}" if problem.hint else ""
    click.echo(f"{printable(str(problem.location))}: {printable(problem.message)}{hint}", err=True)


def _chosen(tests: list[AtomicTest], only: tuple[str, ...]) -> list[AtomicTest]:
    names = {name for test in tests for name in (test.guid, test.technique)}
    if unknown := [name for name in only if name not in names]:
        raise BadInput(f"--only {unknown[0]!r}: no test has this technique or GUID.")
    if not tests:
        raise BadInput("the folder has no Linux tests: it should have files such as T1053.003/T1053.003.yaml.")
    return [test for test in tests if not only or test.guid in only or test.technique in only]


def _confirm(tests: list[AtomicTest], given: str | None) -> None:
    """Raise BadInput unless a person, or the script that they wrote, names this host."""
    host, lasting = platform.node(), sum(not test.cleanup.strip() for test in tests)
    if given is None:
        if not sys.stdin.isatty():
            raise click.UsageError("Can't ask for confirmation without a terminal: --confirm takes this host's name.")
        click.echo(
            f"{count_of(len(tests), 'test')} will run on this host, {printable(host)}, some as root. {lasting} of them "
            "have no clean-up command, and no clean-up restores logs and files that are removed, accounts, keys, "
            "services and packages that are changed, or data that is sent elsewhere. A test can also end this program "
            "or the machine. Afterwards, reinstall the host.",
            err=True,
        )
        given = click.prompt("Type the host's name to run them", default="", show_default=False, err=True)
    if given != host:
        raise BadInput(f"nothing was run: {given!r} is not the name of this host, {host}.")


def for_guests(configured: Settings) -> Settings:
    """Return settings with what guests need."""
    return dataclasses.replace(
        configured,
        watch_config_files=False,
        append_output=(*configured.append_output, AppendOutput(extra_fields=(ExtraField(NAMESPACE_START),))),
        # A guest's processes are those of a host.
        collector=dataclasses.replace(
            configured.collector,
            unknown_containers=False,
            # Several guests at a time do more than hosts do.
            ring_mib=max(configured.collector.ring_mib, _RING_MIB),
            lifecycle_ring_mib=max(configured.collector.lifecycle_ring_mib, _LIFECYCLE_RING_MIB),
        ),
        # What `run` remembers must not change by tests, nor hide their alerts.
        memory=dataclasses.replace(configured.memory, enabled=False),
    )


def _every_rule(settings: Settings, others: tuple[str, ...]) -> Iterator[CompiledDetection]:
    """Yield the configured rules and those of other sets of files, all of them enabled."""
    every = dataclasses.replace(settings, rules=(Selection(enable=Target(rule="*")),), priority="debug")
    for files in (settings.rules_files, *(tuple(each.split(",")) for each in others)):
        yield load_detection(dataclasses.replace(every, rules_files=files), warnings=False)


def _prove(
    options: Options,
    tests: list[AtomicTest],
    site: Guests | ThisHost,
    *,
    workers: int,
    seconds: float,
    recording: Path | None = None,
    others: tuple[str, ...] = (),
) -> list[TestResult]:
    settings = for_guests(options.settings())
    detection = load_detection(settings, warnings=False)
    needs = [] if recording is None else [*_every_rule(settings, others)]
    recorder = None if recording is None else RunRecorder(recording)
    status = StatusLine(sys.stderr)

    def take(batch: EventBatch) -> None:
        site.board.count(batch)
        if recorder is not None:
            recorder.take(batch)

    def show(result: TestResult) -> None:
        if options.format != "json":
            status.clear()
            _row(result)

    prover = Prover(tests, site, workers=workers, on_result=show, seconds=seconds)

    def is_done() -> bool:
        running = ", ".join(f"{each.technique} {printable(each.name[:30])}" for each in [*prover.running.values()])
        text = f"{len(prover.results)} of {len(tests)} tests; running: {running}"
        status.show(text[: shutil.get_terminal_size().columns - 1])
        return prover.is_done(pipeline.evaluated_until)

    pipeline = pipeline_into(settings, detection, site.board, on_batch=take, recorded_for=needs)
    try:
        pipeline.run(prover.start, until=is_done)
    finally:
        prover.give_up()
        status.close()
    if lost := events_lost(pipeline.evaluator.lost):
        note(f"{count_of(lost, 'event')} were lost on this machine, so alerts may be missing.", "warning")
    if prover.problem:
        raise BadInput(f"no test ran: {prover.problem}")
    if recorder is not None and isinstance(site, Guests):
        recorder.finish(site.board.boot, prover.results, prover.baselines)
    return _in_order(prover.results)


def _replayed(options: Options, tests: list[AtomicTest], recorded: RecordedRun) -> list[TestResult]:
    settings = for_guests(options.settings())
    detection = load_detection(settings, warnings=False)
    repeats = repeated_alerts(settings)
    found = recorded.evaluated(tests, detection.ruleset, detection.pushdown_filter, repeats).results
    if options.format != "json":
        for result in _in_order(found):
            _row(result)
    return _in_order(found)


def _in_order(found: list[TestResult]) -> list[TestResult]:
    return [result for results in by_technique(found).values() for result in results]


def _row(result: TestResult) -> None:
    test = result.test
    soonest: dict[str, RaisedAlert] = {}
    for alert in result.alerts:
        soonest.setdefault(alert.rule, alert)
    rules = (f"{alert.rule} ({alert.priority}, {alert.seconds:.1f} s)" for alert in soonest.values())
    told = ", ".join(rules) or result.reason
    click.echo(f"{test.technique:9}  {result.status:12}  {printable(test.name[:60]):60}  {printable(told[:200])}")


def _summary(results: list[TestResult]) -> None:
    names = tuple(status.upper() for status in counts(()))
    rows = [
        (
            technique,
            TECHNIQUES[technique].name if technique in TECHNIQUES else "",
            *(str(number) if number else "" for number in counts(found).values()),
        )
        for technique, found in by_technique(results).items()
    ]
    click.echo()
    print_table(("ID", "NAME", *names), [*rows, ("all", "", *map(str, counts(results).values()))])


def _as_json(result: TestResult) -> dict[str, object]:
    test = result.test
    return {
        "guid": test.guid,
        "technique": test.technique,
        "number": test.number,
        "name": test.name,
        "executor": test.executor,
        "command": test.command,
        "result": result.status,
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
        "events": result.events,
        "alerts": [dataclasses.asdict(alert) for alert in result.alerts],
    }
