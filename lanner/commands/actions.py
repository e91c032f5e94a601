"""`lanner actions`: which action policies there are, and what they would have hit in stored events."""

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from foundation.quantities import date_and_time_seconds, duration_text, iso8601_zulu
from foundation.text import count_of, printable
from lanner.cli.app import Group, Options, front_command
from lanner.cli.options import source_options
from lanner.cli.tables import ACTIONS
from lanner.commands.rules.backtest import chosen_range, evaluate, range_options, stored_where
from lanner.errors import BadInput
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.tuning.backtest import BacktestRun, BacktestVersion
from lanner.tuning.simulation import PolicyHits, Simulation
from lanner.wiring.rules import detection_of, find_draft
from processor.actions.planning import Planner
from processor.actions.policies import ActionPolicy, policies_by_rule
from processor.rule import Rule

_SHOWN = 10
_SHOWN_RULES = 3
_WIDTH = 110
_NS_PER_MS = 1_000_000


@click.group("actions", cls=Group, lazy=ACTIONS, example="lanner actions list\nlanner actions simulate --since 30d")
def command() -> None:
    """Show action policies and what they would hit; decide about actions.

    A policy states what is to be done about the alerts of some rules, and whether that is only stated, done after a
    person's approval, or done at once.
    """


@front_command("list", example="lanner actions list\nlanner actions list actions.yaml")
@click.argument("paths", nargs=-1, metavar="[PATH…]")
def list_actions(options: Options, paths: tuple[str, ...]) -> None:
    """List action policies, with the enabled rules whose alerts request them.

    They are those of the active rules, and of the rule files and folders at PATH.
    """
    settings = options.settings()
    active = detection_of(settings, find_draft(settings, paths, alone=False), warnings=False).active_rules
    enabled = [rule for rule in active.rules if rule.enabled]
    if settings.json_output:
        records = [_policy_record(policy, enabled) for policy in active.actions]
        sys.stdout.write(json.dumps(records) + "\n")
        return
    if not active.actions:
        sys.stdout.write("There are no action policies.\n")
        return
    print_table(
        ("ACTION", "DOES", "STATE", "LEASE", "RULES", "FILE"),
        [
            (
                *(policy.name, f"{policy.type} {policy.target}", policy.state),
                duration_text(policy.lease) if policy.lease else "-",
                _rules_text([rule.name for rule in enabled if policy.is_for(rule)]),
                f"{policy.location.file}:{policy.location.line}",
            )
            for policy in active.actions
        ],
    )


def _rules_text(names: list[str]) -> str:
    shown = names if len(names) <= _SHOWN_RULES else [*names[:_SHOWN_RULES], f"and {len(names) - _SHOWN_RULES} more"]
    return ", ".join(shown) or "none that is enabled"


def _policy_record(policy: ActionPolicy, rules: list[Rule]) -> dict[str, object]:
    return {
        "action": policy.name,
        "desc": policy.description,
        "type": policy.type,
        "target": policy.target,
        "state": policy.state,
        "lease_seconds": policy.lease // 1_000_000_000,
        "rules": [rule.name for rule in rules if policy.is_for(rule)],
        "file": policy.location.file,
        "line": policy.location.line,
    }


@front_command(
    "simulate",
    example="lanner actions simulate --since 30d\n"
    "lanner actions simulate actions.yaml --file /var/lib/lanner-archive --since 90d\n"
    "lanner actions simulate actions.yaml --topic --since 24h --format json\n"
    "lanner actions simulate actions.yaml --since 30d --record",
)
@click.argument("paths", nargs=-1, metavar="[PATH…]")
@click.option(
    "--record", is_flag=True, help="Record the result, for `lanner actions accept` and `lanner rules publish`."
)
@range_options
@source_options
def simulate(
    options: Options,
    paths: tuple[str, ...],
    *,
    since: str,
    until: str | None,
    host: str,
    file: Path | None,
    topic: bool,
    record: bool,
) -> None:
    """Count what action policies would have hit in stored events, and what they would have prevented.

    The policies are those of the active rules, and of the rule files and folders at PATH, which are loaded after these.
    The rules are evaluated as by `lanner rules backtest`; each alert requests the actions of its rule. A target counts
    once while the action lasts. For what would have been killed or frozen, the later events of the same process,
    session or container are counted. Nothing is done. The last lines state what was not collected. With --record, the
    result is stored in actions.simulations_dir.
    """
    if record and host != "*":
        raise click.UsageError("--record is about all hosts: leave out --host.")
    settings = options.settings()
    range_ = chosen_range(since, until)
    detection = detection_of(settings, find_draft(settings, paths, alone=False), warnings=not options.quiet)
    active = detection.active_rules
    by_rule = policies_by_rule(active.actions, [rule for rule in active.rules if rule.enabled])
    if not by_rule:
        hint = "write an item `action` in a rule file, and name the file." if not active.actions else ""
        raise BadInput(
            "there are no action policies." if not active.actions else "no enabled rule requests an action.", hint
        )
    simulation = Simulation(Planner(by_rule), active.actions)
    run = BacktestRun((BacktestVersion(detection, by_rule, simulation),), range_)
    evaluate(run, settings, stored_where(settings, file, topic=topic, quiet=options.quiet), host, quiet=options.quiet)
    (_print_json if settings.json_output else _print_text)(run, simulation)
    if record:
        from lanner.commands.simulations import record_simulation

        note(f"recorded as {record_simulation(Path(settings.actions.simulations_dir), active, run, simulation)}")


def _print_text(run: BacktestRun, simulation: Simulation) -> None:
    found = list(simulation.policies.values())
    print_table(
        ("ACTION", "DOES", "ALERTS", "TARGETS", "HOSTS", "REFUSED", "PREVENTED"),
        [
            (
                *(each.policy.name, f"{each.policy.type} {each.policy.target}", f"{each.alerts:,}", f"{each.hits:,}"),
                *(f"{len(each.hosts):,}", f"{sum(each.refused.values()):,}", _prevented(each)),
            )
            for each in found
        ],
    )
    sys.stdout.writelines(f"{line}\n" for each in found if each.alerts for line in _section(each))
    start, end = (date_and_time_seconds(at * _NS_PER_MS, utc=True) for at in (run.range.since, run.range.until))
    sys.stdout.write(
        f"\n{count_of(run.counts.alerts, 'alert')} requested actions, in {count_of(run.events, 'event')} of "
        f"{count_of(len(run.hosts), 'host')}, {start} to {end} (UTC). Nothing was done.\n"
    )
    if not run.hosts:
        sys.stdout.write("No events of this time are stored, so the result means nothing.\n")
    sys.stdout.writelines(f"not seen by these rules: {printable(remark)}\n" for remark in run.remarks)
    sys.stdout.flush()


def _prevented(found: PolicyHits) -> str:
    if not found.counts_prevented:
        return "-"
    return f"{count_of(found.prevented, 'event')}, {count_of(found.prevented_alerts, 'alert')}"


def _section(found: PolicyHits) -> Iterator[str]:
    yield ""
    yield printable(f"{found.policy.name}: {found.policy.type} {found.policy.target}")
    counts = (("hosts", found.hosts), ("workloads", found.workloads), ("users", found.users))
    for title, texts in (*((title, _most(each)) for title, each in counts), ("refused", _most(found.refused))):
        if texts:
            yield from textwrap.wrap(
                f"{title:<9} " + printable("; ".join(texts)),
                _WIDTH,
                initial_indent="  ",
                subsequent_indent=" " * 12,
                break_on_hyphens=False,
            )
    if found.fuse.blown:
        yield printable(f"  The fuse would have blown: {found.fuse.blown}. Nothing more would have been done.")
    for planned in found.examples:
        alert = planned.alert
        at = date_and_time_seconds(alert.time, utc=True)
        yield f"  {at}  {printable(alert.hostname)}  {printable(planned.text)}, for {alert.rule}"


def _most(counts: Counter[str]) -> list[str]:
    shown = [f"{name} {count:,}" for name, count in counts.most_common(_SHOWN)]
    return shown if len(counts) <= _SHOWN else [*shown, f"and {len(counts) - _SHOWN:,} more"]


def _print_json(run: BacktestRun, simulation: Simulation) -> None:
    record = {
        "since": iso8601_zulu(run.range.since * _NS_PER_MS),
        "until": iso8601_zulu(run.range.until * _NS_PER_MS),
        "events": run.events,
        "hosts": len(run.hosts),
        "actions": [_hits_record(each) for each in simulation.policies.values()],
        "not_seen": run.remarks,
    }
    # ASCII, because texts quote what an attacker wrote.
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _hits_record(found: PolicyHits) -> dict[str, object]:
    return {
        "action": found.policy.name,
        "type": found.policy.type,
        "target": found.policy.target,
        "alerts": found.alerts,
        "targets": found.hits,
        "by_host": dict(found.hosts.most_common()),
        "by_workload": dict(found.workloads.most_common()),
        "by_user": dict(found.users.most_common()),
        "fuse_blown": found.fuse.blown or None,
        "refused": dict(found.refused.most_common()),
        "prevented_events": found.prevented if found.counts_prevented else None,
        "prevented_alerts": found.prevented_alerts if found.counts_prevented else None,
        "examples": [
            {
                "time": iso8601_zulu(each.alert.time),
                "host": each.alert.hostname,
                "alert": each.alert.id,
                "rule": each.alert.rule,
                "text": each.text,
            }
            for each in found.examples
        ],
    }
