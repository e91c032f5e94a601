"""`lanner console token`: tokens to sign in with."""

import json
import sys
import time
from dataclasses import asdict
from typing import get_args

import click

from lanner.cli.app import Options, front_command
from lanner.cli.options.times import parse_duration_ms
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.settings import Settings
from schemas.text.printable import printable
from schemas.text.times import NANOSECONDS, date_and_time_seconds

_MAX_NAME = 100


@front_command(
    "token",
    example="lanner console token create alice --role analyst --expires 90d\nlanner console token list\n"
    "lanner console token revoke alice",
)
@click.argument("action", type=click.Choice(("create", "list", "revoke")))
@click.argument("name", required=False)
@click.option(
    "--role", type=click.Choice(("viewer", "analyst")), default="viewer", show_default=True, help="What it allows."
)
@click.option("--expires", metavar="DURATION", help="When it ends, such as 90d; never by default.")
def command(options: Options, action: str, name: str | None, role: str, expires: str | None) -> None:
    """Make, list and revoke tokens to sign in to the console with, and for programs that use its API.

    A viewer may look; an analyst may also acknowledge, assign, comment and mute. A token is printed once, and only its
    hash is stored in console.state_dir. Revoking it ends its sessions at once.
    """
    settings = options.settings()
    if action == "list":
        _list(settings)
        return
    if not name or not name.isprintable() or len(name) > _MAX_NAME:
        raise click.UsageError(f"{action} needs a NAME: whose actions the audit log shows.")
    from lanner.console.people.identity import Role
    from lanner.wiring.http.console_tokens import open_accounts

    accounts = open_accounts(settings)
    if action == "revoke":
        if not accounts.revoke(name):
            raise BadInput(f"there is no token for {name!r}.")
        return
    now = int(time.time())
    until = now + parse_duration_ms(expires, "--expires") // 1000 if expires else 0
    chosen = next(each for each in get_args(Role) if each == role)
    try:
        token = accounts.create_token(name, chosen, now, until)
    except ValueError as error:
        raise BadInput(f"{error}; `lanner console token revoke` ends it.") from None
    sys.stdout.write(f"{token}\n")
    if not options.quiet:
        note(
            f"this token is shown once; whoever has it is {name!r} ({role}). A running console accepts it at once, "
            f"if its console.state_dir is {settings.console.state_dir}."
        )


def _list(settings: Settings) -> None:
    from lanner.wiring.http.console_tokens import open_accounts

    tokens = open_accounts(settings).tokens()
    if settings.json_output:
        sys.stdout.write(json.dumps([asdict(each) for each in tokens]) + "\n")
        return
    rows = [
        (printable(each.name), each.role, _date(each.created), _date(each.expires) if each.expires else "never")
        for each in tokens
    ]
    print_table(("NAME", "ROLE", "CREATED", "EXPIRES"), rows)


def _date(seconds: int) -> str:
    return date_and_time_seconds(seconds * NANOSECONDS)
