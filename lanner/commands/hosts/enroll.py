"""`lanner hosts enroll`: a host's key counts, by an operator's word."""

import sys
from typing import TYPE_CHECKING

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.wiring.kafka import connection_of, need
from schemas.host_keys import BadHostKey, check_host_id, key_id, parse_public_key
from schemas.text.printable import printable

if TYPE_CHECKING:
    from lanner.wiring.host_keys import HostKeys


@front_command(
    "enroll",
    example="lanner hosts enroll 0f3c… 51ab…     (both as `lanner collector key` prints them on the host)\n"
    "lanner hosts enroll 0f3c… 51ab… --replace     (the host was reinstalled)\n"
    "lanner hosts enroll --pinned     (all that processors have pinned, before collector.identity: enrolled)",
)
@click.argument("host", required=False, metavar="[ID]")
@click.argument("key", required=False, metavar="[KEY]")
@click.option("--replace", is_flag=True, help="In place of the key that the host has now.")
@click.option("--pinned", is_flag=True, help="All hosts that are pinned, each by that key.")
@click.option("--yes", is_flag=True, help="Don't ask; where nobody can be asked, needed.")
def command(options: Options, host: str | None, key: str | None, *, replace: bool, pinned: bool, yes: bool) -> None:
    """Have processors accept what the host ID signs by KEY, and nothing else under its id.

    Without KEY the one that was announced under the id is shown and asked about: compare it with what `lanner collector
    key` prints on the host. Processors follow within a second. What they turned away before is among the dead letters:
    `lanner dlq replay --all --sink processor --reason 'not verified*'` has it evaluated after all.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.host_keys import HostKeyDecisions, read_host_keys

    if pinned == bool(host):
        raise click.UsageError("Name a host's ID, or say --pinned for all that are pinned.")
    settings = options.settings()
    connection = connection_of(settings)
    found = read_host_keys(connection)
    chosen = _pinned(found) if host is None else {host: _chosen(found, host, key, replace=replace, yes=yes)}
    if host is None and not (yes or _agreed(f"Enroll {len(chosen)} hosts that are pinned?")):
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
            "reinstalled, --replace puts the new key in its place."
        )
    return public_key


def _announced(found: "HostKeys", host: str, *, yes: bool) -> bytes:
    now = found.decided.get(host)
    keys = {*found.announced_keys(host), *([now.public_key] if now is not None and now.state == "pinned" else [])}
    if not keys:
        raise BadInput(f"host {host} has announced no key: give the one that `lanner collector key` prints there.")
    if len(keys) > 1:
        shown = ", ".join(sorted(key.hex() for key in keys))
        raise BadInput(f"several keys were announced under id {host}: give the one that is the host's: {shown}.")
    (key,) = keys
    if not (yes or _agreed(f"Key {key.hex()} was announced under this id. Is it what `lanner collector key` prints?")):
        raise BadInput("nothing was enrolled.")
    return key


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: add --yes, or give the key.")
    return click.confirm(question)
