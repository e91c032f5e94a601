"""`lanner hosts revoke`: nothing that comes under a host's id counts any more."""

import sys

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.wiring.kafka import connection_of, need
from schemas.host_keys import BadHostKey, check_host_id
from schemas.text.printable import printable


@front_command("revoke", example="lanner hosts revoke 0f3c…")
@click.argument("hosts", nargs=-1, required=True, metavar="ID…")
def command(options: Options, hosts: tuple[str, ...]) -> None:
    """Have processors accept nothing from a host: not by its key, not by a new one, not unsigned.

    For a host that was taken over, or is gone for good. Processors follow within a second; `lanner hosts enroll` lets
    the host in again.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.host_keys import HostKeyDecisions, read_host_keys

    try:
        for host in hosts:
            check_host_id(host)
    except BadHostKey as error:
        raise BadInput(f"{error}.") from None
    settings = options.settings()
    connection = connection_of(settings)
    decided = read_host_keys(connection).decided
    decisions = HostKeyDecisions(connection, settings)
    for host in hosts:
        known = decided.get(host)
        decisions.decide(host, "revoked", b"" if known is None else known.public_key)
        sys.stdout.write(f"{printable(host)}\n")
        if known is None and not options.quiet:
            note(
                f"no key of host {printable(host)} was known: if it was not meant, `lanner hosts forget` takes it back."
            )
