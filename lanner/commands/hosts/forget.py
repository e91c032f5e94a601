"""`lanner hosts forget`: deletes what was decided about a host."""

import sys

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from schemas.text.printable import printable


@front_command("forget", example="lanner hosts forget 0f3c… 77de…", formats=(), without=NO_RULES)
@click.argument("hosts", nargs=-1, required=True, metavar="ID…")
def command(options: Options, hosts: tuple[str, ...]) -> None:
    """Forget decisions about hosts that are permanently gone, which frees their slots.

    If such a host returns, it is new: with collector.identity: trust_on_first_use the first key under its id is pinned,
    regardless of who sends it. To block an id permanently, use `lanner hosts revoke`.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.hosts.keys import HostKeyDecisions, read_host_keys

    settings = options.settings()
    connection = reachable_connection(settings)
    decided = read_host_keys(connection).decided
    if unknown := [host for host in hosts if host not in decided]:
        raise BadInput(*(f"host {host} is unknown: `lanner hosts list` shows the ids." for host in unknown))
    decisions = HostKeyDecisions(connection, settings)
    for host in hosts:
        decisions.forget(host)
        sys.stdout.write(f"{printable(host)}\n")
    if not options.quiet:
        note(f"forgot {len(hosts)}.")
