"""`lanner intake kubernetes-audit`: takes audit events of Kubernetes API servers into the broker."""

from dataclasses import replace

import click

from bus.acls import topics_of
from lanner.cli import systemd
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.installation.libraries import need
from lanner.wiring.kafka import connection_of
from schemas.text.counts import count_of


@front_command(
    "kubernetes-audit",
    example="lanner intake kubernetes-audit --listen 0.0.0.0:8765\n"
    "lanner intake kubernetes-audit --file /var/log/kubernetes/audit.log\n"
    "lanner intake kubernetes-audit --topic insights-logs-kube-audit",
    formats=(),
    without=NO_RULES,
)
@click.option("--listen", metavar="HOST:PORT", help="Accept events that API servers post to a webhook.")
@click.option("--file", metavar="PATH", help="Follow an audit log, over its rotations.")
@click.option("--topic", metavar="NAME", help="Read a topic: events, lists of them, or envelopes of cloud services.")
def command(options: Options, *, listen: str | None, file: str | None, topic: str | None) -> None:
    """Take audit events of Kubernetes API servers, and store each in the topic kubernetes-audit for the processors.

    A webhook answers 200 once the broker has all events of a request, and 429 while it is away: the API server
    buffers and retries. How far a file was read is stored on disk; how far a topic
    was, in the consumer group.
    """
    need("notifier", "aiohttp", "confluent_kafka")
    from lanner.cli.logging_setup import log_to_stderr
    from lanner.operations.endpoint import endpoint
    from lanner.operations.readings.audit_intake import AuditIntakeView
    from lanner.wiring.audit_intake import AuditIntake
    from lanner.wiring.check import check_settings
    from lanner.wiring.topic_check import topics_in_order

    loaded = options.load()
    section = loaded.settings.kubernetes_audit
    section = replace(
        section,
        listen=listen or section.listen,
        file=file or section.file,
        topic=replace(section.topic, name=topic or section.topic.name),
    )
    loaded = replace(loaded, settings=replace(loaded.settings, kubernetes_audit=section))
    settings = loaded.settings
    log_to_stderr(settings, "intake")
    check_settings(loaded, "intake")
    connection = connection_of(settings)
    topics_in_order(connection, topics_of("kubernetes-audit"))
    intake = AuditIntake(settings, connection, note)
    view = AuditIntakeView(intake, settings.http.stuck_seconds)
    watchdog = systemd.Watchdog()

    def turn() -> None:
        view.turned.beat()
        watchdog.beat()

    with endpoint(settings, "intake", view.readings, view.health()):
        try:
            intake.start()
            systemd.notify("READY=1")
            if not options.quiet:
                note(f"taking audit events from {', '.join(intake.origins)}. Stop: Ctrl-C")
            intake.run(turn)
        finally:
            systemd.notify("STOPPING=1")
            intake.stop()
    if not options.quiet:
        note(f"{count_of(intake.outcomes.total(), 'audit event')} taken")
