"""`lanner hosts enroll`: accepts a host's key."""

import sys
from typing import TYPE_CHECKING

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from schemas.records.host_keys import BadHostKey, check_host_id, key_id, parse_public_key
from schemas.text.printable import printable

if TYPE_CHECKING:
    from lanner.wiring.hosts.keys import HostKeys


@front_command(
    "enroll",
    example="lanner hosts enroll 0f3c… 51ab…     (both as `lanner collector key` prints them on the host)\n"
    "lanner hosts enroll 0f3c… 51ab… --replace     (the host was reinstalled)\n"
    "lanner hosts enroll --pinned     (all pinned keys, before setting collector.identity: enrolled)",
    formats=(),
    without=NO_RULES,
)
@click.argument("host", required=False, metavar="[ID]")
@click.argument("key", required=False, metavar="[KEY]")
@click.option("--replace", is_flag=True, help="Replace the host's current key.")
@click.option("--pinned", is_flag=True, help="All pinned hosts, each with its pinned key.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
def command(options: Options, host: str | None, key: str | None, *, replace: bool, pinned: bool, yes: bool) -> None:
    """Make processors accept only messages signed by KEY under the host id ID.

    Without KEY, the announced key is shown for confirmation: compare it with what `lanner collector key` prints on the
    host. Processors follow within a second. Messages that they rejected before are dead letters: `lanner dlq replay
    --all --sink processor --reason 'not verified*'` has them evaluated.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.hosts.keys import HostKeyDecisions, read_host_keys

    if pinned == bool(host):
        raise click.UsageError("Give a host's ID, or --pinned for all pinned hosts.")
    settings = options.settings()
    connection = reachable_connection(settings)
    found = read_host_keys(connection)
    chosen = _pinned(found) if host is None else {host: _chosen(found, host, key, replace=replace, yes=yes)}
    if host is None and not (yes or _agreed(f"Enroll {len(chosen)} pinned hosts?")):
        chosen = {}
    decisions = HostKeyDecisions(connection, settings)
    for host_id, public_key in chosen.items():
        decisions.decide(host_id, "enrolled", public_key)
        sys.stdout.write(f"{printable(host_id)} {public_key.hex()}\n")
    if not options.quiet:
        note(f"enrolled {len(chosen)}.")


def _pinned(found: "HostKeys") -> dict[str, bytes]:
    return {host: record.public_key for host, record in found.decided.items() if record.state == "pinned"}


def _chosen(found: "HostKeys", host: str, key: str | None, *, replace: bool, yes: bool) -> bytes:
    """Return the key to enroll. Raises BadInput."""
    try:
        check_host_id(host)
        public_key = _announced(found, host, yes=yes) if key is None else parse_public_key(key)
    except BadHostKey as error:
        raise BadInput(f"{error}.") from None
    now = found.decided.get(host)
    if now is not None and now.state != "revoked" and now.public_key != public_key and not replace:
        raise BadInput(
            f"host {host} has the key {key_id(now.public_key)}, {now.state} by {now.by or 'somebody'}: if the host was "
            "reinstalled, --replace replaces it."
        )
    return public_key


def _announced(found: "HostKeys", host: str, *, yes: bool) -> bytes:
    now = found.decided.get(host)
    keys = {*found.announced_keys(host), *([now.public_key] if now is not None and now.state == "pinned" else [])}
    if not keys:
        raise BadInput(
            f"host {host} has announced no key: give the key that `lanner collector key` prints on the host."
        )
    if len(keys) > 1:
        shown = ", ".join(sorted(key.hex() for key in keys))
        raise BadInput(f"several keys were announced under id {host}: give the one that belongs to the host: {shown}.")
    (key,) = keys
    if not (yes or _agreed(f"Key {key.hex()} was announced under this id. Is it what `lanner collector key` prints?")):
        raise BadInput("nothing was enrolled.")
    return key


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("Can't ask for confirmation without a terminal: add --yes, or give the key.")
    return click.confirm(question)
