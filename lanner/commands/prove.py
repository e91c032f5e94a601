"""`lanner prove`: runs attack steps for real, and reports what Lanner detected."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from foundation.text import printable
from lanner.cli.app import Options, front_command
from lanner.errors import BAD_INPUT, BadInput
from lanner.prove.atomics import AtomicTest, BadAtomic, read_folder
from lanner.prove.grades import STATUSES, TestResult, by_technique, navigator_layer
from lanner.prove.image import RECIPE, make_image
from lanner.prove.recording import RecordedRun, RunRecorder
from lanner.prove.run import NAMESPACE_START, GuestBoard, Prover
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.sections.model import Selection, Target
from lanner.settings.sections.sinks import AppendOutput, ExtraField
from lanner.terminal.tables import print_table
from lanner.wiring.rules import load_detection, repeated_alerts
from lanner.wiring.stages.single_host import pipeline_into
from schemas.batch import EventBatch

IMAGE = Path("/var/cache/lanner") / f"guest-{RECIPE}"


@front_command("prove", example="sudo lanner prove atomic-red-team/atomics")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Root directory of the guests; by default a Debian that is built in the cache.",
)
@click.option("--only", multiple=True, metavar="ID", help="Only this technique, or test by GUID; repeatable.")
@click.option("--guests", type=click.IntRange(1, 16), default=3, show_default=True, help="Guests at a time.")
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
def command(
    options: Options,
    folder: Path,
    *,
    image: Path | None,
    only: tuple[str, ...],
    guests: int,
    recording: Path | None,
    others: tuple[str, ...],
    replay: Path | None,
    navigator: Path | None,
) -> int:
    """Run the Linux tests of a folder in the format of Atomic Red Team, and report what was detected.

    Each test runs in a throw-away guest: namespaces of its own on this kernel, with the root directory of --image below
    an overlay that vanishes with them. Guests don't hold back who wants to leave them: run only tests that you trust,
    and on a machine that you can lose.
    """
    tests, problems = read_folder(folder)
    for problem in problems:
        _report(problem)
    chosen = _chosen(tests, only)
    if others and recording is None:
        raise click.UsageError("--for goes with --recording.")
    if replay is not None:
        results = _replayed(options, chosen, RecordedRun(replay))
    else:
        if image is None:
            image = IMAGE
            make_image(image, lambda step: click.echo(f"building the guests' root directory {IMAGE}: {step}", err=True))
        results = _prove(options, chosen, image, folder, guests=guests, recording=recording, others=others)
    if options.format == "json":
        click.echo(json.dumps([_as_json(result) for result in results], indent=2))
    else:
        _summary(results)
    if navigator is not None:
        navigator.write_text(json.dumps(navigator_layer(results), indent=2) + "\n")
    return BAD_INPUT if problems or len(results) < len(chosen) else 0


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


def _settings(options: Options) -> Settings:
    configured = options.settings()
    return dataclasses.replace(
        configured,
        watch_config_files=False,
        append_output=(*configured.append_output, AppendOutput(extra_fields=(ExtraField(NAMESPACE_START),))),
        # A guest's processes are those of a host.
        collector=dataclasses.replace(configured.collector, unknown_containers=False),
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
    image: Path,
    folder: Path,
    *,
    guests: int,
    recording: Path | None,
    others: tuple[str, ...],
) -> list[TestResult]:
    settings = _settings(options)
    detection = load_detection(settings, warnings=False)
    needs = [] if recording is None else [*_every_rule(settings, others)]
    recorder = None if recording is None else RunRecorder(recording)
    board = GuestBoard()

    def take(batch: EventBatch) -> None:
        board.count(batch)
        if recorder is not None:
            recorder.take(batch)

    show = (lambda _result: None) if options.format == "json" else _row
    prover = Prover(tests, board, image, folder, workers=guests, on_result=show)
    pipeline = pipeline_into(settings, detection, board, on_batch=take, recorded_for=needs)
    try:
        pipeline.run(prover.start, until=prover.is_done)
    finally:
        prover.give_up()
    if prover.problem:
        raise BadInput(f"no test ran: {prover.problem}")
    if recorder is not None:
        recorder.finish(board.boot, prover.results, prover.baselines)
    return _in_order(prover.results)


def _replayed(options: Options, tests: list[AtomicTest], recorded: RecordedRun) -> list[TestResult]:
    settings = _settings(options)
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
    rules = ", ".join(dict.fromkeys(alert.rule for alert in result.alerts)) or result.reason
    click.echo(f"{test.technique:9}  {result.status:12}  {printable(test.name[:60]):60}  {printable(rules[:100])}")


def _summary(results: list[TestResult]) -> None:
    numbers = Counter(result.status for result in results)
    print_table(("RESULT", "TESTS"), [(status, str(numbers[status])) for status in reversed(STATUSES)])


def _as_json(result: TestResult) -> dict[str, object]:
    test = result.test
    return {
        "guid": test.guid,
        "technique": test.technique,
        "number": test.number,
        "name": test.name,
        "result": result.status,
        "reason": result.reason,
        "events": result.events,
        "alerts": [dataclasses.asdict(alert) for alert in result.alerts],
    }
