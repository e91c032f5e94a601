"""`lanner rules publish`: publishes one version of the rules to a whole fleet."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.ruleset.compile import CompiledDetection, detection_of
from lanner.settings import Settings
from lanner.settings.sections.published import RulesBudget
from schemas.records.published_rules import MAX_LINES
from schemas.text.counts import count_of
from schemas.text.printable import printable


@front_command(
    "publish",
    example="lanner rules publish rules/ my_rules.yaml --comment 'quieter at night'\n"
    "lanner rules publish rules/ --yes --sign-key /etc/lanner/rules.key     (from CI)",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
@click.option(
    "--force", is_flag=True, help="Publish even if less than half of the rules stay enabled, or over the budget."
)
@click.option("--no-learn", is_flag=True, help="Don't let new macros of type first_seen learn from retained events.")
@click.option("--comment", default="", metavar="TEXT", help="The reason; shown by `status` and in the alert.")
@click.option(
    "--sign-key", type=click.Path(path_type=Path), metavar="FILE", help="Sign with this Ed25519 private key (PEM)."
)
def command(
    options: Options,
    paths: tuple[str, ...],
    comment: str,
    sign_key: Path | None,
    *,
    yes: bool,
    force: bool,
    no_learn: bool,
) -> None:
    """Check the rule files and folders at PATH, show what changes, and publish them to all processors.

    The settings `rules` and `priority` are published with them. Collectors widen their filters first, then processors
    switch between two batches; `lanner rules status` shows the progress. New and changed macros of type first_seen then
    learn from the retained events, which takes a while.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.ruleset.published.publish import publish
    from lanner.ruleset.published.running import running_version
    from lanner.ruleset.published.version import private_key, published_of
    from lanner.ruleset.sources import find_rules
    from processor.loading.difference import difference, enabled, lines

    settings = options.settings()
    key = None if sign_key is None else private_key(sign_key)
    sources = find_rules(replace(settings, rules_files=paths))
    detection = detection_of(settings, sources, warnings=not options.quiet)
    if not options.quiet:
        for line in detection.notices:
            note(line)
    running, before = running_version(settings)
    rules = published_of(settings, sources.files, comment)
    if running is not None and rules.same_rules(running):
        note(f"version {running.version} has the same rules: nothing to publish.")
        return
    changes = () if before is None else difference(before.active_rules, detection.active_rules)
    changed = lines(changes, MAX_LINES)
    show = note if settings.json_output else click.echo
    for line in changed:
        show(printable(line))
    now_on = enabled(detection.active_rules.rules)
    then_on = 0 if before is None else enabled(before.active_rules.rules)
    versus = "no version was published before" if running is None else f"{then_on} enabled in version {running.version}"
    show(f"{count_of(now_on, 'rule')} enabled; {versus}.")
    if now_on * 2 < then_on and not force:
        raise BadInput(f"only {now_on} of {then_on} rules would stay enabled: add --force to publish anyway.")
    if (over := _over_budget(settings, before, detection, quiet=options.quiet)) and not force:
        raise BadInput(*over, "add --force to publish all the same.")
    for line in over:
        note(line, "warning")
    if not (yes or _agreed()):
        note("nothing was published.")
        return
    named = replace(rules, previous="" if running is None else running.version, difference=changed)
    named = named.named(time.time_ns(), 0 if running is None else running.published)
    publish(settings, named, key)
    if settings.json_output:
        click.echo(json.dumps({"version": named.version, "previous": named.previous, "difference": changed}))
    else:
        click.echo(f"published version {named.version}")
    if not no_learn:
        from lanner.known_state.publishing import learn_new_macros

        former = None if before is None else before.ruleset.plan
        learn_new_macros(settings, former, detection.ruleset.plan, named.version, quiet=options.quiet)


def _over_budget(
    settings: Settings, before: CompiledDetection | None, draft: CompiledDetection, *, quiet: bool
) -> list[str]:
    """Return which limits the draft exceeds on the fleet's stored events. Raises BadInput if Ctrl-C ends it early."""
    from lanner.recorder.evaluation.measured_costs import measured_costs
    from lanner.ruleset.published.budget import over_budget

    budget = settings.published_rules.budget
    if replace(budget, hours=0) == RulesBudget(hours=0):
        return []
    since = time.time_ns() // 1_000_000 - budget.hours * 3_600_000
    measured = measured_costs(settings, before or draft, draft, None, since, quiet=quiet)
    if not measured.is_complete:
        raise BadInput("stopped early: nothing was published.")
    if not quiet:
        if measured.costs.events and measured.costs.is_short:
            note("events of less than an hour were measured, so the figures for a day may be far off.")
        for remark in measured.remarks:
            note(f"not counted: {printable(remark)}")
    return over_budget(measured.costs, budget)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("Can't ask for confirmation without a terminal: add --yes.")
    return click.confirm("Publish it?")
