"""`lanner console`: alerts in a browser."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_args

import click

from foundation.quantities import NANOSECONDS, date_and_time_seconds
from foundation.text import printable
from lanner.cli.app import Group, Options, front_command, shared_options
from lanner.cli.options import chosen_recording, parse_duration_ms, source_options
from lanner.cli.tables import CONSOLE
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.process import Signals, Watchdog, notify_systemd
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.kafka import connection_of

POLL_SECONDS = 0.2


@click.group(
    "console",
    cls=Group,
    lazy=CONSOLE,
    invoke_without_command=True,
    example="lanner console\nlanner console --file /var/lib/lanner/kept\n"
    "lanner console token create alice --role analyst",
)
@shared_options
@click.option("--listen", metavar="[ADDRESS:]PORT", help="Where to serve.  [default: 127.0.0.1:8778]")
@source_options
@click.pass_context
def command(context: click.Context, options: Options, *, listen: str | None, file: Path | None, topic: bool) -> None:
    """Show alerts in a browser: grouped, searchable, live, with what people decided about them.

    Reads a fleet's topic, or this host's recording if no broker is configured. With --file, it shows a recording and
    stores nothing. Without further settings it is served on this host only; docs/console.md describes how to sign in.
    """
    if context.invoked_subcommand is not None:
        context.obj = options
        return
    _serve(options, listen, file, topic=topic)


def _serve(options: Options, listen: str | None, file: Path | None, *, topic: bool) -> None:
    need("console", "aiohttp", "jinja2", "authlib", "joserfc", "confluent_kafka", "prometheus_client")
    from bus.acls import topics_of
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.check import check_settings
    from lanner.wiring.kafka import topics_in_order
    from lanner.wiring.stages.consoles import fleet_console, recording_console

    loaded = options.load()
    settings = loaded.settings
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    check_settings(loaded, "console", needs_broker=recording is None)
    log_to_stderr(settings.log_level, settings.log_format, "console")
    if recording is None:
        connection = connection_of(settings)
        # Before signals are taken: it waits for a broker that is away, and a signal ends it.
        topics_in_order(connection, topics_of("console"))
        start = partial(fleet_console, settings, connection=connection, note=note, listen=listen)
    else:
        start = partial(recording_console, settings, recording=recording, note=note, listen=listen, follow=file is None)
    with _folder(settings, file) as folder, Signals() as signals:
        console = start(folder=folder)
        try:
            notify_systemd("READY=1")
            if not options.quiet:
                note(f"console at {console.address}. Stop: Ctrl-C")
            watchdog = Watchdog()
            while not signals.stop:
                time.sleep(POLL_SECONDS)
                watchdog.beat()
                if not console.is_alive:
                    raise BadInput("console: internal error; this is a bug in Lanner.")
        finally:
            notify_systemd("STOPPING=1")
            console.stop()


@contextmanager
def _folder(settings: Settings, file: Path | None) -> Iterator[Path]:
    """Yield the folder of the view: a temporary one for a recording that was named."""
    if file is None:
        yield Path(settings.console.state_dir)
        return
    with tempfile.TemporaryDirectory(prefix="lanner-console-") as name:
        yield Path(name)


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
def manage_tokens(options: Options, action: str, name: str | None, role: str, expires: str | None) -> None:
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
    from lanner.console.accounts import Role
    from lanner.wiring.stages.console import open_accounts

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
    from lanner.wiring.stages.console import open_accounts

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
