"""`lanner demo`: checks that each rule detects its own harmless action."""

import dataclasses
import json
import sys

import click

from lanner.cli.app import Options, front_command
from lanner.demo import ACTS, DemoAction
from lanner.demo.runner import AlertBoard, Demonstration, DemoResult
from lanner.errors import BAD_INPUT, BadInput
from lanner.settings.sections.model import Selection, Target
from lanner.terminal.output import coloured, paint
from lanner.terminal.tables import print_table
from lanner.wiring.rules import load_detection
from lanner.wiring.stages.single_host import pipeline_into


@front_command("demo", example='sudo lanner demo --only "Read sensitive file untrusted"')
@click.option("--list", "only_list", is_flag=True, help="List what each action does and touches, and exit.")
@click.option("--only", multiple=True, metavar="RULE", help="Only this rule's action; repeatable.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0, max=3600),
    default=4.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each alert: longer on a slow or busy machine.",
)
def command(options: Options, only: tuple[str, ...], *, only_list: bool, patience: float) -> int:
    """Run a harmless action for nearly every built-in rule, and check that the rule detects it.

    Each action undoes its changes. Exits with 1 if a rule missed its action.
    """
    acts = _chosen(only)
    if only_list:
        print_table(
            ("RULE", "PRIORITY", "DOES", "TOUCHES"), [(act.rule, act.priority, act.does, act.touches) for act in acts]
        )
        return 0
    outcomes = _demonstrate(options, acts, patience)
    if options.format == "json":
        click.echo(json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2))
    return BAD_INPUT if len(outcomes) < len(acts) or any(outcome.is_missing for outcome in outcomes) else 0


def _chosen(only: tuple[str, ...]) -> list[DemoAction]:
    known = {act.rule for act in ACTS}
    if unknown := [name for name in only if name not in known]:
        raise BadInput(f"--only {unknown[0]!r}: no action for this rule; `lanner demo --list` lists them.")
    return [act for act in ACTS if not only or act.rule in only]


def _demonstrate(options: Options, acts: list[DemoAction], patience: float) -> list[DemoResult]:

    # Show every built-in rule, including disabled ones, and whatever other rule matches the same action.
    everything = (Selection(enable=Target(rule="*")),)
    configured = options.settings()
    settings = dataclasses.replace(
        configured,
        rules=everything,
        priority="debug",
        rule_matching="all",
        watch_config_files=False,
        # The state file is that of `run`: what it remembers could hide an alert, and must not change by a demo.
        memory=dataclasses.replace(configured.memory, enabled=False),
    )
    detection = load_detection(settings, warnings=False)
    missing = [act.rule for act in acts if act.rule not in detection.ruleset.names_of()]
    if missing:
        raise BadInput(f"the active rules lack {missing[0]!r}, which the demo needs.")
    width = max(len(act.rule) for act in acts)
    board = AlertBoard()
    show = (lambda _outcome: None) if options.format == "json" else (lambda outcome: click.echo(_row(outcome, width)))
    demonstration = Demonstration(acts, board, show, patience)

    pipeline = pipeline_into(settings, detection, board)
    if options.format != "json":
        click.echo(f"{'RULE':{width}}  {'EXPECTED':13}  DETECTED")
    try:
        pipeline.run(demonstration.start, until=demonstration.is_done)
    finally:
        demonstration.give_up()
    return demonstration.outcomes


def _row(outcome: DemoResult, width: int) -> str:
    if outcome.skipped:
        seen = f"skipped: {outcome.skipped}"
    elif outcome.seen is None:
        seen = "no alert ✗"
    else:
        seen = f"{outcome.seen}  {outcome.milliseconds:.0f} ms {'✗' if outcome.is_missing else '✓'}"
    if coloured(sys.stdout) and outcome.seen:
        seen = paint(seen, outcome.seen)
    return f"{outcome.rule:{width}}  {outcome.expected:13}  {seen}"
