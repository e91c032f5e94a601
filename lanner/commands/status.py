"""`lanner status`: how current detection is, on one screen."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from rich.text import Text

from foundation.quantities import iso8601_zulu, seconds_text
from foundation.text import printable
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import progress
from lanner.libraries import need
from lanner.operations.freshness import Finding, Freshness
from lanner.settings.sections.model import KafkaSettings
from lanner.terminal.tables import print_table

_MOST_ROWS = 30
_NS = 1_000_000_000


@front_command(
    "status",
    example="lanner status\nlanner status --format json\nlanner status -q || echo 'detection is late, blind or stuck'",
    without=NO_RULES,
)
def command(options: Options) -> Literal[0, 1]:
    """Show whether detection is current: of the fleet if a broker is configured, else of `lanner run` on this host.

    One screen: until when events are evaluated, silent hosts and those that lost events in the last minute, sinks that
    fail or are late, and full disks. Exits with 0 if all is in order, with 1 if something is a problem or `lanner run`
    doesn't run, and with 3 if no broker answers. With -q, only problems are shown.
    """
    settings = options.settings()
    if settings.kafka == KafkaSettings():
        from lanner.wiring.freshness import reported_freshness

        where, current = "this host", reported_freshness(settings)
    else:
        need("processor", "confluent_kafka")
        from lanner.wiring.freshness import fleet_freshness
        from lanner.wiring.kafka import reachable_connection

        connection = reachable_connection(settings)
        where = f"the fleet at {connection.bootstrap_servers}"
        with progress(quiet=options.quiet) as search:
            current = fleet_freshness(settings, connection, search.stop, search.show)
    if settings.json_output:
        evaluated = None if current.evaluated is None else iso8601_zulu(int(current.evaluated * _NS))
        record = asdict(current) | {"read_at": iso8601_zulu(int(current.read_at * _NS)), "evaluated": evaluated}
        sys.stdout.write(json.dumps(record | {"ok": not current.problems}) + "\n")
    else:
        if not options.quiet:
            sys.stdout.write(f"{_headline(current, where)}\n")
        _print(current.problems if options.quiet else current.findings)
    return 1 if current.problems else 0


def _headline(current: Freshness, where: str) -> str:
    if current.evaluated is None:
        return f"Events of {where}: until when they are evaluated is not known."
    age = max(0.0, current.read_at - current.evaluated)
    until = iso8601_zulu(int(current.evaluated * _NS))[11:19]
    how = f"{seconds_text(age)} behind" if current.is_late else "current"
    return f"Events of {where} are evaluated up to {until} UTC: {how}."


def _print(findings: Sequence[Finding]) -> None:
    shown = findings
    if len(findings) > _MOST_ROWS:
        shown = sorted(findings, key=lambda each: not each.is_problem)[:_MOST_ROWS]
    if shown:
        print_table(("SUBJECT", "NAME", "STATE", "FOUND"), [_row(each) for each in shown])
    if len(findings) > len(shown):
        sys.stdout.write(f"… and {len(findings) - len(shown)} more; --format json has all.\n")


def _row(finding: Finding) -> tuple[str, str, Text, str]:
    state = Text("PROBLEM", "bold red") if finding.is_problem else Text("ok", "green")
    return finding.subject, printable(finding.name), state, finding.text
