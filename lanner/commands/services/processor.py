"""`lanner processor`: evaluates a fleet's events."""

import logging
import os
import sys

from bus.acls import topics_of
from bus.topics import EVENTS
from foundation.text import count_of
from lanner.cli.app import Options, front_command
from lanner.libraries import need
from lanner.process import Watchdog, call_on_stop, notify_systemd, return_free_memory
from lanner.terminal.output import error_line, note
from lanner.wiring.kafka import connection_of


@front_command("processor", example="lanner processor -o kafka.bootstrap_servers=kafka-1:9092", formats=())
def command(options: Options) -> None:
    """Evaluate the rules on the events of all hosts, and publish alerts to their topic.

    Start as many as there are cores, on any number of machines, up to the number of partitions: they share the work,
    and the others take over from one that dies within seconds. Run `lanner topics create` first.
    """
    need("processor", "confluent_kafka", "cryptography", "faust")
    from lanner.operations.processor import ProcessorView
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.check import check_settings
    from lanner.wiring.kafka import topics_in_order
    from lanner.wiring.servers import endpoint
    from lanner.wiring.stages.processor import build_processor
    from processor.fleet.worker import ProcessorFailed, run_processor

    loaded = options.load()
    settings = loaded.settings
    log_to_stderr(settings.log_level, settings.log_format, "processor")
    return_free_memory()
    check_settings(loaded, "processor")
    connection = connection_of(settings)
    states, findings = topics_in_order(connection, topics_of("processor"))
    for finding in () if options.quiet else findings:
        note(f"{finding.text}.", "warning")
    partitions = states[connection.topic(EVENTS)].partitions
    processor = build_processor(settings, connection, partitions, quiet=options.quiet)
    view = ProcessorView(processor, settings.http.stuck_seconds)

    def ready() -> None:
        view.mark_assigned()
        notify_systemd("READY=1")
        if not options.quiet:
            note(f"evaluating rules: {processor.rules.in_use.description}. Stop: Ctrl-C")

    with endpoint(settings, "processor", view.readings, view.health()):
        try:
            alerts = run_processor(
                processor,
                on_note=note,
                stop_signals=call_on_stop,
                on_ready=ready,
                log_level=logging.DEBUG if settings.log_level == "debug" else logging.ERROR,
                on_start=lambda app, shipping: view.start(app, shipping, Watchdog().beat),
            )
            status = 0
        except ProcessorFailed as error:
            error_line(f"{error}. The next processor evaluates again what was not acknowledged.")
            status = 3
        else:
            if not options.quiet:
                events = processor.stages.detect.evaluation.events + processor.stages.json.events
                note(f"{count_of(events, 'event')}, {count_of(alerts, 'alert')}")
        sys.stdout.flush()
    # Faust's leftover threads and tasks would delay the exit by seconds; nothing is left to save.
    os._exit(status)
