"""`lanner processor`: evaluates a fleet's events."""

import logging
import os
import socket
import sys
import time

from bus.acls import topics_of
from bus.topics import EVENTS, PODS, SESSIONS
from foundation.text import count_of
from lanner.cli.app import Options, front_command
from lanner.libraries import need
from lanner.process import service
from lanner.process.memory import return_free_memory
from lanner.process.signals import call_on_stop
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
    from lanner.wiring.rules import repeated_alerts
    from lanner.wiring.servers import endpoint
    from lanner.wiring.stages.processor import host_keys_service, json_stage, key_names, preparation, rules_at_start
    from processor.correlation.stage import CorrelateStage
    from processor.fleet.backlog import Lateness
    from processor.fleet.followers import RecordsFollower
    from processor.fleet.message_stage import MessageStage
    from processor.fleet.rules.rollout import RulesRollout
    from processor.fleet.worker import ProcessorFailed, run_processor
    from processor.hosts.liveness import HostLiveness

    loaded = options.load()
    settings = loaded.settings
    log_to_stderr(settings.log_level, settings.log_format, "processor")
    return_free_memory()
    check_settings(loaded, "processor")
    connection = connection_of(settings)
    states, findings = topics_in_order(connection, topics_of("processor"))
    for finding in () if options.quiet else findings:
        note(f"{finding.text}.", "warning")
    prepare = preparation(settings)
    in_use, former = rules_at_start(settings, connection, prepare, quiet=options.quiet)

    def ready() -> None:
        view.mark_assigned()
        service.notify("READY=1")
        if not options.quiet:
            note(f"evaluating rules: {rules.in_use.description}. Stop: Ctrl-C")

    stage = MessageStage(
        in_use.ruleset,
        clock=time.monotonic,
        decode=in_use.decode,
        liveness=HostLiveness(settings.hosts.silent_seconds),
        repeats=repeated_alerts(settings),
        messages_per_second=settings.stateful_rules.messages_per_second,
    )
    stages = (stage, CorrelateStage(in_use.ruleset.plan), json_stage(settings, connection, stage.detect))
    worker = f"{socket.gethostname()}-{os.getpid()}"
    rules = RulesRollout(
        connection,
        in_use,
        stages,
        prepare.accept,
        former=former,
        worker=worker,
        wait_seconds=settings.published_rules.wait_seconds,
        takes_published=settings.published_rules.enabled,
        on_note=note,
    )
    partitions = states[connection.topic(EVENTS)].partitions
    host_keys = host_keys_service(settings, connection, partitions, worker)
    view = ProcessorView(
        stage,
        *stages[1:],
        rules,
        Lateness(settings.lag.seconds, worker, key_names(connection, stage.reports)),
        settings.http.stuck_seconds,
        host_keys,
    )
    with endpoint(settings, "processor", view.readings, view.health()):
        try:
            alerts = run_processor(
                connection,
                stages,
                rules,
                host_keys=host_keys,
                records=(
                    RecordsFollower(connection, PODS, stage.pods.put, on_note=note),
                    RecordsFollower(connection, SESSIONS, stage.sessions.put, on_note=note),
                ),
                partitions=partitions,
                lateness=view.lateness,
                cluster_name=settings.cluster_name or "",
                on_note=note,
                stop_signals=call_on_stop,
                on_ready=ready,
                log_level=logging.DEBUG if settings.log_level == "debug" else logging.ERROR,
                on_start=lambda app, shipping: view.start(app, shipping, service.Watchdog().beat),
            )
            status = 0
        except ProcessorFailed as error:
            error_line(f"{error}. The next processor evaluates again what was not acknowledged.")
            status = 3
        else:
            if not options.quiet:
                note(f"{count_of(stage.events + stages[2].events, 'event')}, {count_of(alerts, 'alert')}")
        sys.stdout.flush()
    # Faust's leftover threads and tasks would delay the exit by seconds; nothing is left to save.
    os._exit(status)
