"""`lanner console`: alerts in a browser."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from lanner.cli import systemd
from lanner.cli.app import Group, Options, shared_options
from lanner.cli.options.source import chosen_recording, source_options
from lanner.cli.signals import Signals
from lanner.cli.tables import CONSOLE
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.settings import Settings
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
    from lanner.cli.logging_setup import log_to_stderr
    from lanner.wiring.check import check_settings
    from lanner.wiring.http.consoles import fleet_console, recording_console
    from lanner.wiring.topic_check import topics_in_order

    loaded = options.load()
    settings = loaded.settings
    recording = chosen_recording(settings, file, topic=topic, quiet=options.quiet)
    check_settings(loaded, "console", needs_broker=recording is None)
    log_to_stderr(settings, "console")
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
            systemd.notify("READY=1")
            if not options.quiet:
                note(f"console at {console.address}. Stop: Ctrl-C")
            watchdog = systemd.Watchdog()
            while not signals.stop:
                time.sleep(POLL_SECONDS)
                watchdog.beat()
                if not console.is_alive:
                    raise BadInput("console: internal error; this is a bug in Lanner.")
        finally:
            systemd.notify("STOPPING=1")
            console.stop()


@contextmanager
def _folder(settings: Settings, file: Path | None) -> Iterator[Path]:
    """Yield the folder of the view: a temporary one for a recording that was named."""
    if file is None:
        yield Path(settings.console.state_dir)
        return
    with tempfile.TemporaryDirectory(prefix="lanner-console-") as name:
        yield Path(name)
