"""`lanner rules status`: shows the published version and what each processor runs."""

import json
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from processor.fleet.rules.peers import LIVE_MS, Peers, Report
from schemas.records.published_rules import BadRules, PublishedRules
from schemas.text.printable import printable


@front_command(
    "status", example="lanner rules status\nlanner rules status --format json | jq .processors", without=NO_RULES
)
def command(options: Options) -> int:
    """Show the published version, the version each processor runs, and what collectors send.

    Exits with 1 if a live processor runs another version.
    """
    need("processor", "confluent_kafka", "cryptography")
    from bus.clients.compacted import read_topics
    from bus.messages.published_rules import CURRENT, accept
    from bus.topics import PROCESSORS, PUSHDOWN_FILTERS, RULES
    from lanner.ruleset.published.version import public_keys

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
