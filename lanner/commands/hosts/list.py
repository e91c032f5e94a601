"""`lanner hosts list`: lists host keys."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from schemas.records.host_keys import key_id
from schemas.text.printable import printable
from schemas.text.times import iso8601_zulu

if TYPE_CHECKING:
    from lanner.wiring.hosts.keys import HostKeys

_STYLES = {"revoked": "bold red", "announced": "yellow"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A key and its state."""

    host_id: str
    hostname: str
    state: str
    """As in the topic; `announced` if nobody has decided about this key."""
    public_key: bytes
    since: int
    by: str


@front_command(
    "list", example="lanner hosts list\nlanner hosts list --format json     (with full keys)", without=NO_RULES
)
def command(options: Options) -> None:
    """List host keys and their states.

    A key is enrolled or revoked by an operator, pinned by the processor that first saw it (with collector.identity:
    trust_on_first_use), or only announced: by the host, or by anyone else with the right to send events. Compare with
    `lanner collector key` on the host. SINCE is the time of the decision or announcement.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.hosts.keys import read_host_keys

    settings = options.settings()
    rows = sorted(
        _rows(read_host_keys(reachable_connection(settings))), key=lambda row: (row.hostname, row.host_id, row.state)
    )
    if settings.json_output:
        for row in rows:
            record = {
                "host_id": row.host_id,
                "hostname": row.hostname,
                "state": row.state,
                "key_id": key_id(row.public_key) if row.public_key else "",
                "public_key": row.public_key.hex(),
                "since": iso8601_zulu(row.since),
                "by": row.by,
            }
            sys.stdout.write(json.dumps(record) + "\n")
    elif rows:
        print_table(("HOST", "ID", "KEY", "STATE", "SINCE", "BY"), [_cells(row) for row in rows])
    elif not options.quiet:
        note("no host keys.")


def _rows(found: "HostKeys") -> Iterator[_Row]:
    names = {host_id: each.hostname for (host_id, _), each in found.announced.items()}
    for host_id, record in found.decided.items():
        # Prefer the name announced with the decided key over any other announced under this id.
        announced = found.announced.get((host_id, record.public_key))
        name = names.get(host_id, host_id) if announced is None else announced.hostname
        yield _Row(host_id, name, record.state, record.public_key, record.since, record.by)
    for (host_id, key), announced in found.announced.items():
        decided = found.decided.get(host_id)
        if decided is None or decided.public_key != key:
            yield _Row(host_id, announced.hostname, "announced", key, announced.announced, "")


def _cells(row: _Row) -> list[str | Text]:
    key = key_id(row.public_key) if row.public_key else "-"
    state = Text(row.state, style=_STYLES.get(row.state, ""))
    return [row.hostname, printable(row.host_id), key, state, iso8601_zulu(row.since), row.by]
