"""`lanner actions do`: a person acts on a target, which is shown with what else it would hit before they agree."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from collector.containers.runtimes import runtimes
from collector.host import HostFacts, boot_to_epoch, this_host
from collector.processes.container_names import Naming
from foundation.quantities import duration_text, from_rfc3339
from foundation.text import count_of, printable
from lanner.actions.deciding import DecisionRefused, by_hand, lease_of, on_the_same, target_type
from lanner.actions.local_targets import LocalTarget, LocalTargets
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import agreed, parse_duration_ms
from lanner.commands.decisions import opened, show_action, sign_option, wait_for_result, wait_option
from lanner.errors import BadInput
from lanner.terminal.output import note
from lanner.wiring.kafka import reachable_connection
from lanner.wiring.stages.action_records import OpenRecords, is_fleet, this_person
from schemas.action import ACTION_KINDS, ActionIntent, ActionType, TargetType

if TYPE_CHECKING:
    from lanner.settings import Settings

_MS = 1_000_000
_CLUSTER = ("pod", "node")
_TYPES = [type_ for type_, kind in ACTION_KINDS.items() if not set(kind.targets) <= set(_CLUSTER)]
"""Without those on pods and nodes alone, which are known by an alert: the console does them."""
_FULL_ID = 12
"""Digits of a container's id on another host, at least."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What the options name."""

    pid: int | None
    session: int | None
    container: str | None
    program: str | None
    file: str | None
    user: str | None
    started: str | None
    uid: int | None

    @property
    def target(self) -> TargetType | None:
        """The type of what they name; None for a host. Raises UsageError if they name several."""
        named: dict[TargetType, object] = {
            "process": self.pid,
            "session": self.session,
            "program": self.program,
            "file": self.file,
            "user": self.user,
        }
        found = [name for name, value in named.items() if value is not None]
        # A container alone is the target; with a file, it is where the file is.
        if self.container is not None and found not in (["program"], ["file"]):
            found.append("container")
        if len(found) > 1:
            raise click.UsageError(f"name one target, not {' and '.join(found)}.")
        return found[0] if found else None


@front_command(
    "do",
    example="sudo lanner actions do freeze --container web\n"
    "sudo lanner actions do kill --pid 123\n"
    "lanner actions do isolate --host web-3 --lease 1h --sign-key ann.key     (in a fleet)",
    without=NO_RULES,
)
@click.argument("type_", type=click.Choice(_TYPES), metavar="TYPE")
@click.option("--pid", type=click.IntRange(1), metavar="PID", help="A process.")
@click.option("--session", type=click.IntRange(1), metavar="PID", help="The session that this process leads.")
@click.option("--container", metavar="NAME", help="A container, by name or id; with --file or --program, where it is.")
@click.option("--program", metavar="PATH", help="A program.")
@click.option("--file", metavar="PATH", help="A file.")
@click.option("--user", metavar="NAME", help="A user.")
@click.option("--host", metavar="HOST", help="The host, by name or id.  [default: this host]")
@click.option("--started", metavar="TIME", help="On another host: when the process started, as its alert states it.")
@click.option("--uid", type=click.IntRange(1), metavar="UID", help="On another host: the user's id.")
@click.option("--lease", metavar="TIME", help="When it ends by itself.  [default: 15m]")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
@sign_option
@wait_option
def act(
    options: Options,
    type_: str,
    *,
    host: str | None,
    lease: str | None,
    yes: bool,
    sign_key: Path | None,
    wait: int,
    **given: "str | int | None",
) -> None:
    """Act by hand: freeze, isolate, kill, quarantine, lock or collect a target, after showing what it would hit.

    Without --host, the target is on this host, and is identified by what runs here. On another host of a fleet, state
    what identifies it: a container's full id, a process with --started, a user with --uid. TYPE must be enabled there,
    by collector.actions.enabled. Without a target, isolate and collect are about the whole host.
    """
    settings = options.settings()
    named = _Given(**cast("Any", given))
    action = cast("ActionType", type_)
    try:
        target = target_type(action, named.target)
        lasts = lease_of(action, None if lease is None else parse_duration_ms(lease, "--lease") * _MS)
    except DecisionRefused as error:
        raise BadInput(f"{error}.") from None
    with opened(settings, sign_key) as records:
        here = this_host(settings.host.id or "", settings.host.name or "")
        where = here if host in (None, here.id, here.name) else _other_host(settings, host or "")
        made = ActionIntent("", action, target, where.id, where.name, "do", target, 0, lease=lasts)
        found = _local(settings, made, named) if where is here else _remote(made, named)
        intent = by_hand(found.intent, found.program, this_person(settings), time.time_ns())
        for line in _radius(records, replace(found, intent=intent)):
            (note if settings.json_output else click.echo)(printable(line))
        if not (yes or agreed(f"{intent.type.capitalize()} it?", "add --yes")):
            note("nothing was done.")
            return
        records.write(intent)
        written = records.book.find(intent.id)
        if written is not None:
            wait_for_result(records, written, 0, wait)
            show_action(settings, written)
    sys.stdout.flush()


def _radius(records: OpenRecords, found: LocalTarget) -> list[str]:
    """Return what the action is about and would hit, for people."""
    intent, now = found.intent, time.time_ns()
    others = on_the_same(records.book.actions, intent, now)
    lines = [
        f"{intent.summary}",
        f"  host      {intent.hostname} ({intent.host_id})",
        *([f"  hits      {', '.join(found.hits)}"] if found.hits else []),
        f"  ends      {f'by itself in {duration_text(intent.lease)}' if intent.lease else 'not by itself'}",
    ]
    if others:
        shown = "; ".join(f"{each.status(now)} {each.intent.summary}" for each in others[:3])
        lines.append(f"  also      {count_of(len(others), 'action')} on this host: {shown}")
    if records.book.stop is not None:
        lines.append(f"  stopped   {records.book.stop.by} stopped all actions: nothing is done before `resume`")
    return lines


def _local(settings: "Settings", intent: ActionIntent, given: _Given) -> LocalTarget:
    """Identify a target on this host. Raises DecisionRefused."""
    section = settings.collector
    lookups = runtimes(Path(section.docker_socket), Path(section.podman_socket), [*map(Path, section.cri_sockets)])
    targets = LocalTargets(Naming(section.container_parents), lookups, boot_to_epoch())
    if given.pid is not None or given.session is not None:
        return targets.process(intent, given.pid or given.session or 0)
    if given.user is not None:
        return targets.user(intent, given.user)
    path = given.file or given.program
    if path is not None:
        if not path.startswith("/"):
            raise DecisionRefused(f"{printable(path)} is not an absolute path")
        inside = targets.container(intent, given.container).intent if given.container is not None else intent
        return targets.file(inside, path)
    return targets.host(intent) if given.container is None else targets.container(intent, given.container)


def _remote(intent: ActionIntent, given: _Given) -> LocalTarget:
    """Identify a target on another host, by what the options state. Raises DecisionRefused."""
    lead = intent.target
    if lead in ("process", "session"):
        pid = given.pid or given.session or 0
        started = _time_ns(given.started)
        return LocalTarget(replace(intent, text=f"{lead} {pid}", pid=pid, start_time=started))
    if lead == "user":
        if given.uid is None:
            raise DecisionRefused("a user of another host needs --uid")
        return LocalTarget(replace(intent, text=f"user {given.user}", user=given.user or "", uid=given.uid))
    if given.container is not None and len(given.container) < _FULL_ID:
        raise DecisionRefused("a container of another host needs its id, not its name")
    inside = replace(intent, container_id=given.container or "")
    if lead == "container":
        return LocalTarget(replace(inside, text=f"container {given.container}"))
    path = given.file or given.program
    if path is not None:
        return LocalTarget(replace(inside, text=f"{lead} {path}", path=path), path)
    return LocalTarget(replace(intent, text=f"host {intent.hostname}"))


def _time_ns(text: str | None) -> int:
    """Return a process's start time, ns since the epoch. Raises DecisionRefused."""
    found = None if text is None else int(text) if text.isascii() and text.isdigit() else from_rfc3339(text)
    if not found:
        raise DecisionRefused(
            "a process of another host needs --started, as its alert states it in proc.pid.ts (nanoseconds since the "
            "epoch, or 2026-11-24T14:31:30.123456789Z): its id alone can be another's"
        )
    return found


def _other_host(settings: "Settings", name: str) -> HostFacts:
    """Return another host of the fleet. Raises BadInput if it is unknown, or if several have this name."""
    if not is_fleet(settings):
        raise BadInput(f"--host {printable(name)}: without a broker, actions are those of this host.")
    from lanner.wiring.published import read_host_keys

    announced = read_host_keys(reachable_connection(settings)).announced.values()
    found = {each.host_id: each.hostname for each in announced if name in (each.host_id, each.hostname)}
    if len(found) > 1:
        raise BadInput(f"--host {printable(name)}: several hosts have this name; give an id: {', '.join(found)}.")
    if not found:
        raise BadInput(f"--host {printable(name)}: unknown; `lanner hosts list` shows names and ids.")
    ((host_id, hostname),) = found.items()
    return HostFacts(host_id, hostname, "", "")
