"""`lanner actions serve`: the process that acts on this host."""

import os

from foundation.text import count_of
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.process import Signals, Watchdog, notify_systemd
from lanner.terminal.output import note


@front_command(
    "serve",
    example="lanner actions serve\nlanner actions serve -o 'collector.actions.enabled=[kill, freeze]'",
    formats=(),
    without=NO_RULES,
)
def serve(options: Options) -> None:
    """Do on this host what action policies and people request; nothing else of Lanner can.

    Requests and decisions come through a socket from the collector or from `lanner run`, which have no right to act.
    Only types of actions that collector.actions.enabled names are done, on records that a key of collector.actions has
    signed; with `lanner run` on a single host, root alone can write them. What ends by itself ends also if this
    process is gone.
    """
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.stages.actions import action_service

    settings = options.settings()
    if os.geteuid() != 0:
        raise BadInput("`lanner actions serve` needs root: run it with sudo, or start lanner-actions.service.")
    log_to_stderr(settings.log_level, settings.log_format, "actions")
    section = settings.collector.actions
    if section.processor_key_files or section.people_key_files or section.console_key_files:
        need("processor", "confluent_kafka", "cryptography")
    made = action_service(settings, note)
    watchdog = Watchdog()
    with Signals() as signals:
        try:
            notify_systemd("READY=1")
            if not options.quiet:
                enabled = ", ".join(section.enabled) or "no type of action: collector.actions.enabled names none"
                signed = "signed records" if made.executor.rights.is_signed else "records of root"
                note(f"{section.socket}: {enabled}; {signed} are accepted. Stop: Ctrl-C")
            made.run(lambda: signals.stop, signals.descriptor, watchdog.beat)
        finally:
            notify_systemd("STOPPING=1")
            made.close()
    if not options.quiet:
        counts = made.executor.outcomes
        note(
            f"{count_of(counts.get('done', 0), 'action')} done, {counts.get('refused', 0)} refused, "
            f"{counts.get('failed', 0)} failed, {counts.get('gone', 0)} came too late"
        )
