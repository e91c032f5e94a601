"""`lanner actions pending`, `log`, `approve` …: what people decide about actions."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundation.quantities import date_and_time_seconds
from foundation.sqlite import DatabaseUnusable
from foundation.text import count_of, printable
from lanner.actions.book import ActionBook, TrackedAction, action_json
from lanner.actions.deciding import DecisionRefused, decide, decide_all, find_action, lasting, short_ids
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import agreed, parse_duration_ms
from lanner.errors import BadInput
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.stages.action_records import OpenRecords, open_records, this_person
from schemas.action import ActionDecision, BadActionRecord, DecisionType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lanner.settings import Settings

WAIT_SECONDS = 5
"""How long a command waits for what the host reports; a host in a fleet follows within half a second."""
_POLL_SECONDS = 0.1
_MS = 1_000_000

sign_option = click.option(
    "--sign-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="In a fleet: sign with this Ed25519 private key (PEM).  [default: actions.key_file]",
)
wait_option = click.option(
    "--wait",
    type=click.IntRange(0, 600),
    default=WAIT_SECONDS,
    metavar="SECONDS",
    show_default=True,
    help="How long to wait for what the host reports.",
)
comment_option = click.option("--comment", default="", metavar="TEXT", help="The reason.")


@contextmanager
def opened(settings: "Settings", sign_key: Path | None = None) -> "Iterator[OpenRecords]":
    """Open the records of actions; raise what goes wrong inside as BadInput."""
    try:
        found = open_records(settings, sign_key)
        with closing(found.records):
            yield found
    except (DecisionRefused, BadActionRecord, DatabaseUnusable) as error:
        raise BadInput(f"{error}.") from None
    except OSError as error:
        where = settings.actions.state_dir
        raise BadInput(f"{where}: {error.strerror or error}. Records of actions are root's: use sudo.") from None


@front_command(
    "pending", example="lanner actions pending\nlanner actions pending --format json | jq -r .id", without=NO_RULES
)
def pending(options: Options) -> None:
    """List actions that wait for approval; `lanner actions approve ID` approves one."""
    _list(options, lambda each, now: each.status(now) == "waiting", "No action waits for approval.\n")


@front_command(
    "log",
    example="lanner actions log\nlanner actions log --state done --state undone\nlanner actions log --format json",
    without=NO_RULES,
)
@click.option("--state", "states", multiple=True, metavar="STATE", help="Only actions in this state; repeatable.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
def log(options: Options, states: tuple[str, ...], *, limit: int) -> None:
    """List actions with their states, the reasons, and who decided; the newest first.

    States: would, refused, waiting, rejected, expired, sent (no host has answered yet), received, done, gone (the
    target had ended), failed, undone, ended (its lease).
    """
    _list(options, lambda each, now: not states or each.status(now) in states, "There are no actions.\n", limit)


def _list(options: Options, chosen: Callable[[TrackedAction, int], bool], none: str, limit: int | None = None) -> None:
    settings = options.settings()
    now = time.time_ns()
    with opened(settings) as records:
        book = records.book
    found = [each for each in book.actions if chosen(each, now)][:limit]
    if settings.json_output:
        sys.stdout.writelines(f"{json.dumps(action_json(each, now))}\n" for each in found)
        return
    if found:
        ids = short_ids([each.intent.id for each in book.actions])
        print_table(
            ("ID", "TIME", "HOST", "STATE", "ACTION", "POLICY", "WHY", "BY"),
            [_row(each, ids[each.intent.id], now) for each in found],
        )
    else:
        sys.stdout.write(none)
    if not options.quiet:
        _note_limits(book)


def _note_limits(book: ActionBook) -> None:
    """Report why less is done than policies state."""
    if book.stop is not None:
        at = date_and_time_seconds(book.stop.at)
        note(f"{printable(book.stop.by)} stopped all actions at {at}; `lanner actions resume` ends that.", "warning")
    for policy in book.blown:
        note(f"{printable(policy)}: the fuse has blown; `lanner actions reset` resets it.", "warning")


def _row(action: TrackedAction, id_: str, now: int) -> tuple[str, ...]:
    intent = action.intent
    return (
        *(id_, date_and_time_seconds(action.stored), intent.hostname or intent.host_id, action.status(now)),
        *(intent.summary, intent.policy or "-", action.why(now) or "-"),
        ", ".join(dict.fromkeys([*([] if intent.policy else [intent.by]), *(each.by for each in action.decisions)]))
        or "-",
    )


@front_command("approve", example="lanner actions approve 0191e3a4", without=NO_RULES)
@click.argument("action_id", metavar="ID")
@sign_option
@comment_option
@wait_option
def approve(options: Options, action_id: str, *, sign_key: Path | None, comment: str, wait: int) -> None:
    """Approve an action that waits; ID may be its beginning. Where two persons have to, it waits for the second."""
    _decide(options, "approve", action_id, sign_key, wait, comment=comment)


@front_command("reject", example="lanner actions reject 0191e3a4 --comment 'our own test'", without=NO_RULES)
@click.argument("action_id", metavar="ID")
@sign_option
@comment_option
def reject(options: Options, action_id: str, *, sign_key: Path | None, comment: str) -> None:
    """Reject an action that waits; ID may be its beginning. Nobody can approve it any longer."""
    _decide(options, "reject", action_id, sign_key, 0, comment=comment)


@front_command("undo", example="lanner actions undo 0191e3a4", without=NO_RULES)
@click.argument("action_id", metavar="ID")
@sign_option
@comment_option
@wait_option
def undo(options: Options, action_id: str, *, sign_key: Path | None, comment: str, wait: int) -> None:
    """Undo an action; ID may be its beginning."""
    _decide(options, "undo", action_id, sign_key, wait, comment=comment)


@front_command("extend", example="lanner actions extend 0191e3a4 --lease 1h", without=NO_RULES)
@click.argument("action_id", metavar="ID")
@click.option("--lease", metavar="TIME", help="How long it lasts from now on.  [default: as requested]")
@sign_option
@comment_option
@wait_option
def extend(
    options: Options, action_id: str, *, lease: str | None, sign_key: Path | None, comment: str, wait: int
) -> None:
    """Make an action last longer that would end by itself; ID may be its beginning."""
    lasts = 0 if lease is None else parse_duration_ms(lease, "--lease") * _MS
    _decide(options, "extend", action_id, sign_key, wait, comment=comment, lease=lasts)


def _decide(
    options: Options,
    type_: DecisionType,
    action_id: str,
    sign_key: Path | None,
    wait: int,
    *,
    comment: str = "",
    lease: int = 0,
) -> None:
    settings = options.settings()
    with opened(settings, sign_key) as records:
        action = find_action(records.book, action_id)
        by, now = this_person(settings), time.time_ns()
        try:
            made = decide(action, type_, by, now, lease=lease, comment=comment)
        except DecisionRefused as error:
            raise BadInput(f"{action.intent.id} ({printable(action.intent.summary)}): {error}.") from None
        seen = len(action.results)
        records.write(made)
        if type_ != "reject" and action.status(now) != "waiting":
            wait_for_result(records, action, seen, wait)
        show_action(settings, action)


def wait_for_result(records: OpenRecords, action: TrackedAction, seen: int, seconds: int) -> None:
    """Wait until the host has reported more than `seen` results, and not only that it received the action."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if len(action.results) > seen and action.last is not None and action.last.outcome != "received":
            return
        time.sleep(_POLL_SECONDS)
        records.update()


def show_action(settings: "Settings", action: TrackedAction) -> None:
    """Print an action's state."""
    now = time.time_ns()
    if settings.json_output:
        sys.stdout.write(json.dumps(action_json(action, now)) + "\n")
        return
    status, why = action.status(now), action.why(now)
    where = action.intent.hostname or action.intent.host_id
    text = f"{status}: {action.intent.summary} on {where}" + (f" ({why})" if why else "")
    sys.stdout.write(printable(text) + "\n")
    if status == "sent":
        note("the host hasn't answered yet; `lanner actions log` shows when it has.")


@front_command(
    "stop", example="lanner actions stop\nlanner actions stop --yes --undo     (and undo what lasts)", without=NO_RULES
)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
@click.option("--undo", "undoes", is_flag=True, help="Also undo all actions that last.")
@sign_option
def stop(options: Options, *, yes: bool, undoes: bool, sign_key: Path | None) -> None:
    """Stop all actions on all hosts, until `lanner actions resume`.

    Hosts do nothing more that is requested, within five seconds. What they have done lasts until its lease ends, or
    somebody undoes it.
    """
    settings = options.settings()
    with opened(settings, sign_key) as records:
        last = lasting(records.book, time.time_ns())
        question = "Stop all actions on all hosts?"
        if undoes:
            question = f"Stop all actions on all hosts, and undo {count_of(len(last), 'action')}?"
        if not (yes or agreed(question, "add --yes")):
            note("nothing was stopped.")
            return
        _write_all(settings, records, "stop", "")
        undone = [_undo(settings, records, each) for each in last] if undoes else []
    _show(settings, {"stopped": True, "undoing": undone}, "stopped all actions on all hosts")
    if undoes and not settings.json_output:
        sys.stdout.write(f"undoing {count_of(len(undone), 'action')}; `lanner actions log` shows the results\n")


def _undo(settings: "Settings", records: OpenRecords, action: TrackedAction) -> str:
    made = decide(action, "undo", this_person(settings), time.time_ns(), comment="all actions were stopped")
    records.write(made)
    return action.intent.id


@front_command("resume", example="lanner actions resume", without=NO_RULES)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
@sign_option
def resume(options: Options, *, yes: bool, sign_key: Path | None) -> None:
    """End what `lanner actions stop` began: all hosts act again. What has expired by then isn't done."""
    settings = options.settings()
    with opened(settings, sign_key) as records:
        if records.book.stop is None:
            raise BadInput("actions aren't stopped.")
        if not (yes or agreed("Let all hosts act again?", "add --yes")):
            note("actions are still stopped.")
            return
        _write_all(settings, records, "resume", "")
    _show(settings, {"stopped": False}, "all hosts may act again")


@front_command("reset", example="lanner actions reset 'Freeze containers with a shell'", without=NO_RULES)
@click.argument("policy", metavar="POLICY")
@sign_option
@comment_option
def reset(options: Options, policy: str, *, sign_key: Path | None, comment: str) -> None:
    """Reset the fuse of an action policy that has blown: from now on, its actions are done again."""
    settings = options.settings()
    with opened(settings, sign_key) as records:
        _write_all(settings, records, "reset", policy, comment)
    _show(settings, {"reset": policy}, f"reset the fuse of {printable(policy)}")


def _write_all(
    settings: "Settings", records: OpenRecords, type_: DecisionType, subject: str, comment: str = ""
) -> None:
    made = decide_all(records.book, type_, subject, this_person(settings), time.time_ns())
    records.write(ActionDecision(made.id, made.type, made.subject, made.by, made.at, comment=comment))


def _show(settings: "Settings", record: dict[str, Any], text: str) -> None:
    sys.stdout.write((json.dumps(record) if settings.json_output else text) + "\n")
