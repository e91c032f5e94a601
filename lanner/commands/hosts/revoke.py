"""`lanner hosts revoke`: stops accepting a host's messages."""

import sys

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from schemas.records.host_keys import BadHostKey, check_host_id
from schemas.text.printable import printable


@front_command("revoke", example="lanner hosts revoke 0f3c…", formats=(), without=NO_RULES)
@click.argument("hosts", nargs=-1, required=True, metavar="ID…")
def command(options: Options, hosts: tuple[str, ...]) -> None:
    """Make processors reject all messages of a host: signed by its key, by a new key, or unsigned.

    Use it for a host that is compromised or permanently gone. Processors follow within a second; `lanner hosts enroll`
    accepts the host again.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.hosts.keys import HostKeyDecisions, read_host_keys

    try:
        for host in hosts:
            check_host_id(host)
    except BadHostKey as error:
        raise BadInput(f"{error}.") from None
    settings = options.settings()
    connection = reachable_connection(settings)
    decided = read_host_keys(connection).decided
    decisions = HostKeyDecisions(connection, settings)
    for host in hosts:
        known = decided.get(host)
        decisions.decide(host, "revoked", b"" if known is None else known.public_key)
        sys.stdout.write(f"{printable(host)}\n")
        if known is None and not options.quiet:
            note(f"host {printable(host)} had no known key; `lanner hosts forget` undoes a mistaken revocation.")
