"""`lanner rules publish`, `pull` and `status`: the versions of the rules of a whole fleet."""

import json
import os
import time
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from bus.connection import BusUnavailable
from foundation.files import write_atomically
from foundation.text import count_of, printable
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import agreed, draft_option, progress
from lanner.errors import BadInput
from lanner.known_state.tables import learning_macros
from lanner.libraries import need
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.settings.sections.fleet import RulesBudget
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.rules import detection_of
from processor.fleet.rules.peers import LIVE_MS, Peers, Report
from processor.indicators.lists import unpacked
from processor.splitting import Plan
from schemas.published_rules import MAX_LINES, BadRules, PublishedRules

_MOST_RECORDED = 500
"""Characters of a line in a published version, at most."""


@front_command(
    "publish",
    example="lanner rules publish rules/ my_rules.yaml --comment 'quieter at night'\n"
    "lanner rules publish rules/ --yes --sign-key /etc/lanner/rules.key     (from CI)\n"
    "lanner rules publish rules/ --backtest /var/lib/lanner-archive --since 30d",
)
@click.argument("paths", nargs=-1, metavar="PATH…")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
@click.option(
    "--force",
    is_flag=True,
    help="Publish even if less than half of the rules stay enabled, over the budget, or against a backtest.",
)
@click.option("--no-learn", is_flag=True, help="Don't let new macros of type first_seen learn from retained events.")
@click.option("--comment", default="", metavar="TEXT", help="The reason; shown by `status` and in the alert.")
@click.option(
    "--sign-key", type=click.Path(path_type=Path), metavar="FILE", help="Sign with this Ed25519 private key (PEM)."
)
@click.option(
    "--backtest",
    "store",
    metavar="PATH",
    help="First evaluate new and changed rules on this archive or recording; topic: on a fleet's retained events.  "
    "[default: published_rules.backtest.store]",
)
@click.option("--since", metavar="TIME", help="With --backtest: a duration, or a date.  [default: 30d]")
@draft_option
def publish(
    options: Options,
    paths: tuple[str, ...],
    comment: str,
    sign_key: Path | None,
    draft: tuple[str, ...],
    *,
    store: str | None,
    since: str | None,
    yes: bool,
    force: bool,
    no_learn: bool,
) -> None:
    """Check the rule files and folders at PATH, show what changes, and publish them to all processors.

    A version consists of these files alone, since processors have no other rules. With --draft, it consists of the
    active rules, or those at PATH, and of the draft on top of them. The settings `rules` and `priority` are published
    with them. Collectors widen their filters first, then processors switch between two batches; `lanner rules status`
    shows the progress. New and changed macros of type first_seen then learn from the retained events, which takes a
    while. With --backtest, what new and changed rules would have alerted on is shown first; limits in
    published_rules.backtest refuse a version. An action policy that may do more than before, such as in the state do
    instead of would, needs a recorded simulation that another person accepted: docs/actions.md.
    """
    if not paths and not draft:
        raise click.UsageError("name all rule files at PATH, or those to add to the active rules by --draft.")
    need("processor", "confluent_kafka", "cryptography")
    from lanner.commands.rules.backtest import check_backtest, demanded_backtest
    from lanner.commands.simulations import check_powers
    from lanner.ruleset.published import current_host, publish, published_of
    from lanner.wiring.published import detection_of_published, private_key, refuse_python, running_version
    from lanner.wiring.rules import find_draft
    from processor.loading.difference import difference, enabled, lines

    settings = options.settings()
    demand = demanded_backtest(settings, store, since, default=None)
    key = None if sign_key is None else private_key(sign_key)
    sources = find_draft(replace(settings, rules_files=paths) if paths else settings, draft)
    detection = detection_of(settings, sources, warnings=not options.quiet)
    for line in () if options.quiet else detection.notices:
        note(line)
    if key is None and not settings.published_rules.unsigned_python:
        refuse_python(file.name for file in sources.files)
    running, before = running_version(settings)
    rules = published_of(sources, current_host(settings.host.name), comment, detection.active_rules.indicators.values())
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
    powers = check_powers(settings, before, detection, key, show)
    _check_budget(settings, before, detection, force=force, quiet=options.quiet)
    if demand is not None and (
        line := check_backtest(settings, demand, before, detection, show, force=force, quiet=options.quiet)
    ):
        powers = (*powers, line)
    # Last, and never left out of a long list.
    changed = (*changed[: MAX_LINES - len(powers) + 1], *(line[:_MOST_RECORDED] for line in powers[:MAX_LINES]))
    if not (yes or agreed("Publish it?", "add --yes")):
        note("nothing was published.")
        return
    named = replace(rules, previous="" if running is None else running.version, difference=changed)
    named = named.named(time.time_ns(), 0 if running is None else running.published)
    connect = partial(reachable_connection, settings)
    publish(named, key, partial(detection_of_published, settings), connect, note)
    if settings.json_output:
        click.echo(json.dumps({"version": named.version, "previous": named.previous, "difference": changed}))
    else:
        click.echo(f"published version {named.version}")
    if not no_learn:
        former = None if before is None else before.ruleset.plan
        _learn_new_macros(settings, former, detection.ruleset.plan, named.version, quiet=options.quiet)


def _learn_new_macros(settings: Settings, before: Plan | None, plan: Plan, version: str, *, quiet: bool) -> None:
    """Learn for new and changed macros of type first_seen of a version; report what can't be learned now."""
    from lanner.known_state.fleet import FleetState, learn_from_topic, wait_until_supported
    from lanner.recorder.topic import TopicStore

    known = set() if before is None else {macro.fingerprint for macro in learning_macros(before)}
    fresh = [macro for macro in learning_macros(plan) if macro.fingerprint not in known]
    if not fresh:
        return
    names = ", ".join(macro.name for macro in fresh)
    later = f"`lanner state learn` lets {names} learn from retained events later"
    connection = reachable_connection(settings)
    try:
        with progress(quiet=quiet) as search:
            wait_until_supported(connection, version, search.stop)
            fleet, store = FleetState(connection), TopicStore(connection, note)
            values, remarks = learn_from_topic(fleet, store, plan, fresh, stop=search.stop, show=search.show)
    except BusUnavailable as error:
        note(f"{error.reason}; {later}.", "warning")
        return
    if search.stop():
        note(f"stopped early; {later}.", "warning")
    elif not quiet:
        note(f"{names}: learned {values:,} values from retained events.")
        for remark in remarks:
            note(f"not learned: {printable(remark)}.")


def _check_budget(
    settings: Settings, before: CompiledDetection | None, draft: CompiledDetection, *, force: bool, quiet: bool
) -> None:
    """Print which limits the draft exceeds. Raises BadInput if it does, without force."""
    if (over := _over_budget(settings, before, draft, quiet=quiet)) and not force:
        raise BadInput(*over, "add --force to publish all the same.")
    for line in over:
        note(line, "warning")


def _over_budget(
    settings: Settings, before: CompiledDetection | None, draft: CompiledDetection, *, quiet: bool
) -> list[str]:
    """Return which limits the draft exceeds on the fleet's stored events. Raises BadInput if Ctrl-C ends it early."""
    from lanner.commands.rules.cost import measure
    from lanner.tuning.costs import over_budget

    budget = settings.published_rules.budget
    if replace(budget, hours=0) == RulesBudget(hours=0):
        return []
    since = time.time_ns() // 1_000_000 - budget.hours * 3_600_000
    measured = measure(settings, before or draft, draft, recording=None, since=since, quiet=quiet)
    if not measured.is_complete:
        raise BadInput("stopped early: nothing was published.")
    if not quiet:
        if measured.costs.events and measured.costs.is_short:
            note("events of less than an hour were measured, so the figures for a day may be far off.")
        for remark in measured.remarks:
            note(f"not counted: {printable(remark)}")
    return over_budget(measured.costs, asdict(budget), budget.hours)


@front_command(
    "pull", example="lanner rules pull /tmp/running && lanner rules validate /tmp/running", formats=(), without=NO_RULES
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def pull(options: Options, folder: Path, *, force: bool) -> None:
    """Write the files of the published version into DIR, created if needed.

    If their order is not alphabetical, their names get numbers in front, so that publishing DIR gives the same rules.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.published import accepted_version

    settings = options.settings()
    rules = accepted_version(settings, reachable_connection(settings))
    if rules is None:
        raise BadInput("no version is published; use `lanner rules publish PATH…`.")
    names = [file.name for file in rules.files]
    if names != sorted(names):
        width = len(str(len(names)))
        names = [f"{position:0{width}}-{name}" for position, name in enumerate(names)]
    targets = [folder / name for name in (*names, *(file.name for file in rules.indicators))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [str(target) for target in targets if os.path.lexists(target)]
        if there and not force:
            raise BadInput(*(f"{name}: already exists; --force overwrites it." for name in there))
        contents = (*(file.text for file in rules.files), *(unpacked(file.text) for file in rules.indicators))
        for target, content in zip(targets, contents, strict=True):
            # A symbolic link is replaced, never followed.
            write_atomically(target, [content], mode=0o644)
    except OSError as error:
        raise BadInput(f"{error.filename or folder}: {error.strerror}.") from None
    click.echo(f"version {rules.version}: {count_of(len(targets), 'file')} in {folder}")


@front_command(
    "status", example="lanner rules status\nlanner rules status --format json | jq .processors", without=NO_RULES
)
def status(options: Options) -> int:
    """Show the published version, the version each processor runs, and what collectors send.

    Exits with 1 if a live processor runs another version.
    """
    need("processor", "confluent_kafka", "cryptography")
    from bus.clients.compacted import read_topics
    from bus.published_rules import CURRENT, accept
    from bus.topics import PROCESSORS, PUSHDOWN_FILTERS, RULES
    from lanner.wiring.published import public_keys

    settings = options.settings()
    keys = public_keys(settings)
    found = read_topics(reachable_connection(settings), [RULES, PUSHDOWN_FILTERS, PROCESSORS])
    current = found[RULES].get(CURRENT)
    rules: PublishedRules | None = None
    signed_by = problem = ""
    if current is not None:
        try:
            accepted = accept(current, keys)
            rules, signed_by = accepted.rules, accepted.signed_by
        except BadRules as error:
            problem = str(error)
    peers = Peers()
    for key, message in found[PROCESSORS].items():
        peers.take(key, message.value(), message.timestamp()[1])
    now = time.time_ns() // 1_000_000
    rows: list[dict[str, Any]] = [
        {
            "processor": report.worker,
            "version": report.active,
            "since": _stamp(report.since),
            "rules": report.rules,
            "state": _state(report, alive=age < LIVE_MS),
            "seen_seconds_ago": max(age, 0) // 1000,
            "alive": age < LIVE_MS,
        }
        for report, age in sorted(peers.ages(now), key=lambda each: each[0].worker)
    ]
    hosts: Counter[str] = Counter()
    for report in peers.live(now):
        hosts.update(report.hosts)
    live = sorted(key.decode("utf-8", "replace") for key in found[PUSHDOWN_FILTERS])
    if settings.json_output:
        published = None if rules is None else _summary(rules, signed_by)
        body = {"published": published, "trouble": problem, "processors": rows, "hosts": hosts, "interest": live}
        click.echo(json.dumps(body, indent=2))
    else:
        _print(rules, signed_by, problem, rows, hosts)
        if not options.quiet:
            note(f"collectors send the events that these need: {', '.join(live) or 'their own rule files'}")
    published_version = "" if rules is None else rules.version
    return int(
        bool(problem) or any(row["alive"] and published_version and row["version"] != published_version for row in rows)
    )


def _state(report: Report, *, alive: bool) -> str:
    if not alive:
        return "gone"
    states = []
    if report.waiting:
        who = f" for {', '.join(report.lagging)}" if report.lagging else ""
        states.append(f"waits{who} to activate {report.waiting}")
    if report.refused:
        states.append(f"refused a version: {report.refused}")
    return "; ".join(states) or "active"


def _summary(rules: PublishedRules, signed_by: str) -> dict[str, Any]:
    return {
        "version": rules.version,
        "published": _stamp(rules.published),
        "publisher": rules.publisher,
        "host": rules.host,
        "comment": rules.comment,
        "signed_by": signed_by or None,
        "files": [file.name for file in rules.files],
        "difference": list(rules.difference),
    }


def _stamp(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(
    rules: PublishedRules | None, signed_by: str, problem: str, rows: list[dict[str, Any]], hosts: Counter[str]
) -> None:
    if problem:
        click.echo(printable(f"the published version can't be used: {problem}"))
    elif rules is None:
        click.echo("no version is published: each processor uses its own rule files")
    else:
        signed = f", signed by {signed_by}" if signed_by else ""
        comment = f" ({rules.comment})" if rules.comment else ""
        who = f"by {rules.publisher} on {rules.host}"
        click.echo(printable(f"version {rules.version} {who}, {_stamp(rules.published)}{signed}{comment}"))
    print_table(
        ("PROCESSOR", "VERSION", "RULES", "SINCE", "STATE"),
        [
            (
                row["processor"],
                row["version"],
                str(row["rules"]),
                row["since"],
                Text(row["state"], "" if row["alive"] else "dim"),
            )
            for row in rows
        ],
    )
    print_table(
        ("HOSTS", "SEND EVENTS NEEDED BY"),
        [(str(number), _meaning(reported)) for reported, number in hosts.most_common()],
    )


def _meaning(reported: str) -> str:
    return {"": "their own rule files", "*": "everything"}.get(reported, reported.replace("+", ", "))
