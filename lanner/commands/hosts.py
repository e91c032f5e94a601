"""`lanner hosts`: takes the topics of events and host keys; lists hosts, decides about their keys."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.text import Text

from bus.connection import BusUnavailable
from foundation.quantities import iso8601_zulu
from foundation.text import printable
from lanner.cli.app import NO_RULES, Group, Options, front_command, shared_options
from lanner.cli.options import agreed, progress
from lanner.cli.tables import HOSTS
from lanner.errors import BAD_INPUT, BadInput
from lanner.libraries import need
from lanner.operations.freshness import freshness, is_silent
from lanner.terminal.output import error_line, note
from lanner.terminal.tables import print_table
from lanner.wiring.kafka import reachable_connection
from schemas.host_keys import BadHostKey, check_host_id, key_id, parse_public_key

if TYPE_CHECKING:
    from bus.connection import Connection
    from lanner.recorder.host_tally import FleetHost
    from lanner.settings import Settings
    from lanner.wiring.published import HostKeyDecisions, HostKeys


_SLOW_MS = 5000
_OTHERWISE = "add --yes, or give the key"


@click.option("--check", is_flag=True, help="Show only silent hosts; exit with 1 if there is one.")
def _command(options: Options, *, check: bool) -> None:
    """Show the fleet's hosts: silent ones first, then those that stopped cleanly.

    They are found in the retained topic of events. In a large fleet only a sample of it is read: a host that is gone
    may be missed if it was alive for less than half of the time since then. LOST counts the losses reported in the
    last minute, or in the last 20 s of a large fleet; LAG is how long the newest batch took to reach the broker.
    If events are evaluated late, or a sink is, the last lines say how much; `lanner status` shows all of it.
    """
    ctx = click.get_current_context()
    ctx.obj = options
    if ctx.invoked_subcommand is None:
        _show(options, check=check)


def _show(options: Options, *, check: bool) -> None:
    need("processor", "confluent_kafka")
    from lanner.recorder.hosts import find_hosts

    settings = options.settings()
    connection = reachable_connection(settings)
    now = time.time_ns() // 1_000_000
    with progress(quiet=options.quiet) as search:
        hosts = find_hosts(connection, now, search.stop, search.show)
    was_stopped = search.stop()

    def silent_now(host: "FleetHost") -> bool:
        return is_silent(host, settings.hosts.silent_seconds, now / 1000)

    hosts.sort(key=lambda host: (not silent_now(host), not host.is_stopped, host.name))
    silent = [host for host in hosts if silent_now(host)]
    shown = silent if check else hosts
    if settings.json_output:
        for host in shown:
            sys.stdout.write(json.dumps(_record(host, silent=silent_now(host))) + "\n")
    elif shown:
        print_table(
            ("HOST", "SEEN", "VERSION", "KERNEL", "LOST", "LAG", "RULES"),
            [_row(host, now, silent=silent_now(host)) for host in shown],
        )
    sys.stdout.flush()
    if was_stopped and not options.quiet:
        note("the search was stopped early: hosts may be missing.")
    elif not hosts and not options.quiet:
        note("the topic retains no events of any host.")
    if not options.quiet:
        _warn(settings, connection)
    if check and silent:
        error_line(f"{len(silent)} of {len(hosts)} hosts are silent.")
        raise click.exceptions.Exit(BAD_INPUT)


def _warn(settings: "Settings", connection: "Connection") -> None:
    """Report why this list may hide problems: events that are evaluated late, and sinks that are late."""
    from lanner.settings.sections.fleet import json_topic_names
    from lanner.wiring.freshness import group_queues, limits_of

    try:
        queues = group_queues(connection, json_topic_names(settings.json_sources))
        current = freshness(time.time(), limits_of(settings), queues)
    except BusUnavailable as error:
        note(f"how late events are evaluated is not known: {error}", "warning")
        return
    for each in current.problems:
        note(f"{each.subject} {printable(each.name)}: {each.text}.", "warning")


def _row(host: "FleetHost", now: int, *, silent: bool) -> list[str | Text]:
    state = f"{_ago(now - host.seen)} ago"
    if silent:
        state += ", silent"
    elif host.is_stopped:
        state += ", stopped"
    return [
        _styled(host.name, "bold red" if silent else ""),
        _styled(state, "bold red" if silent else ""),
        host.version,
        host.kernel,
        _styled(f"{host.lost:,}", "yellow" if host.lost else ""),
        _styled(_ago(host.lag), "yellow" if host.lag > _SLOW_MS else ""),
        host.rules or "-",
    ]


def _styled(text: str, style: str) -> str | Text:
    return Text(printable(text), style) if style else text


def _record(host: "FleetHost", *, silent: bool) -> dict[str, object]:
    return {
        "host": host.name,
        "host_id": host.id,
        "seen": iso8601_zulu(host.seen * 1_000_000),
        "state": "silent" if silent else "stopped" if host.is_stopped else "live",
        "version": host.version,
        "kernel": host.kernel,
        "lost": host.lost,
        "losses": dict(host.losses),
        "lag_seconds": host.lag / 1000,
        "rules": host.rules,
    }


def _ago(milliseconds: int) -> str:
    seconds = max(milliseconds, 0) / 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"


command: click.Group = click.group(
    "hosts",
    cls=Group,
    lazy=HOSTS,
    invoke_without_command=True,
    example="lanner hosts\nlanner hosts --check     (for cron: exits with 1 if a host is silent)\n"
    "lanner hosts enroll ID KEY     (as `lanner collector key` prints them on the host)",
)(shared_options(_command, without=NO_RULES))


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
def enroll_host(options: Options, host: str | None, key: str | None, *, replace: bool, pinned: bool, yes: bool) -> None:
    """Make processors accept only messages signed by KEY under the host id ID.

    Without KEY, the announced key is shown for confirmation: compare it with what `lanner collector key` prints on the
    host. Processors follow within a second. Messages that they rejected before are dead letters: `lanner dlq replay
    --all --sink processor --reason 'not verified*'` has them evaluated.
    """
    need("processor", "confluent_kafka", "cryptography")
    if pinned == bool(host):
        raise click.UsageError("Name a host by its ID, or pass --pinned for all pinned hosts.")
    found, decisions = _host_keys(options)
    if host is None:
        chosen = {name: record.public_key for name, record in found.decided.items() if record.state == "pinned"}
        if not (yes or agreed(f"Enroll {len(chosen)} pinned hosts?", _OTHERWISE)):
            chosen = {}
    else:
        chosen = {host: _chosen(found, host, key, replace=replace, yes=yes)}
    for host_id, public_key in chosen.items():
        decisions.decide(host_id, "enrolled", public_key)
        sys.stdout.write(f"{printable(host_id)} {public_key.hex()}\n")
    if not options.quiet:
        note(f"enrolled {len(chosen)}.")


def _host_keys(options: Options) -> "tuple[HostKeys, HostKeyDecisions]":
    """Return the known keys, and what writes decisions about them. Raises BadInput and BusUnavailable."""
    from lanner.wiring.published import HostKeyDecisions, read_host_keys

    settings = options.settings()
    connection = reachable_connection(settings)
    return read_host_keys(connection), HostKeyDecisions(connection, settings)


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
    question = f"Key {key.hex()} was announced under this id. Is it what `lanner collector key` prints?"
    if not (yes or agreed(question, _OTHERWISE)):
        raise BadInput("nothing was enrolled.")
    return key


@front_command("forget", example="lanner hosts forget 0f3c… 77de…", formats=(), without=NO_RULES)
@click.argument("hosts", nargs=-1, required=True, metavar="ID…")
def forget_host(options: Options, hosts: tuple[str, ...]) -> None:
    """Forget decisions about hosts that are permanently gone, which frees their slots.

    If such a host returns, it is new: with collector.identity: trust_on_first_use the first key under its id is pinned,
    regardless of who sends it. To block an id permanently, use `lanner hosts revoke`.
    """
    need("processor", "confluent_kafka", "cryptography")
    found, decisions = _host_keys(options)
    if unknown := [host for host in hosts if host not in found.decided]:
        raise BadInput(*(f"host {host} is unknown: `lanner hosts list` shows the ids." for host in unknown))
    for host in hosts:
        decisions.forget(host)
        sys.stdout.write(f"{printable(host)}\n")
    if not options.quiet:
        note(f"forgot {len(hosts)}.")


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
def list_keys(options: Options) -> None:
    """List host keys and their states.

    A key is enrolled or revoked by an operator, pinned by the processor that first saw it (with collector.identity:
    trust_on_first_use), or only announced: by the host, or by anyone else with the right to send events. Compare with
    `lanner collector key` on the host. SINCE is the time of the decision or announcement.
    """
    need("processor", "confluent_kafka", "cryptography")
    from lanner.wiring.published import read_host_keys

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


@front_command("revoke", example="lanner hosts revoke 0f3c…", formats=(), without=NO_RULES)
@click.argument("hosts", nargs=-1, required=True, metavar="ID…")
def revoke_host(options: Options, hosts: tuple[str, ...]) -> None:
    """Make processors reject all messages of a host: signed by its key, by a new key, or unsigned.

    Use it for a host that is compromised or permanently gone. Processors follow within a second; `lanner hosts enroll`
    accepts the host again.
    """
    need("processor", "confluent_kafka", "cryptography")
    try:
        for host in hosts:
            check_host_id(host)
    except BadHostKey as error:
        raise BadInput(f"{error}.") from None
    found, decisions = _host_keys(options)
    for host in hosts:
        known = found.decided.get(host)
        decisions.decide(host, "revoked", b"" if known is None else known.public_key)
        sys.stdout.write(f"{printable(host)}\n")
        if known is None and not options.quiet:
            note(f"host {printable(host)} had no known key; `lanner hosts forget` undoes a mistaken revocation.")
