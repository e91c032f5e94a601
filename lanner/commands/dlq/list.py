"""`lanner dlq list`: lists dead letters."""

import json
import sys
from dataclasses import asdict

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options.dead_letters import filter_options
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.dead_letters.selection import DeadLetterFilter, chosen
from lanner.dead_letters.stores import open_stores
from schemas.text.times import iso8601_zulu

_RULE, _REASON = 60, 80


@front_command(
    "list", example="lanner dlq list --sink slack --reason 'invalid*'\nlanner dlq list --format json", without=NO_RULES
)
@filter_options
def command(options: Options, selection: DeadLetterFilter, *, local: bool) -> None:
    """List dead letters, oldest first, except those already replayed or dropped."""
    settings = options.settings()
    rows: list[tuple[str, ...]] = []
    count = 0
    for _, dead_letters in chosen(open_stores(settings, local=local), (), selection):
        count += len(dead_letters)
        for each in dead_letters:
            time = iso8601_zulu(int(each.at * 1e9))
            if settings.json_output:
                record = {
                    name: value for name, value in asdict(each).items() if name not in ("data", "origin", "number")
                }
                sys.stdout.write(json.dumps(record | {"at": time}) + "\n")
            else:
                rule, reason = _short(each.rule, _RULE), _short(each.reason, _REASON)
                rows.append((each.id, time[:19], each.sink, rule, reason, str(each.attempts)))
    if rows:
        print_table(("ID", "TIME", "SINK", "RULE", "REASON", "ATTEMPTS"), rows)
    if not count and not options.quiet:
        note("no dead letters.")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
