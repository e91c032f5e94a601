"""`lanner kubernetes` and `lanner intake`: pods and audit events of a Kubernetes cluster, published to topics."""

from dataclasses import replace

import click

from bus.acls import topics_of
from foundation.text import count_of
from lanner.cli.app import NO_RULES, Group, Options, front_command
from lanner.cli.tables import INTAKE
from lanner.libraries import need
from lanner.process import Watchdog, notify_systemd
from lanner.terminal.output import note
from lanner.wiring.kafka import connection_of


@click.group("intake", cls=Group, lazy=INTAKE, example="lanner intake kubernetes-audit --listen 0.0.0.0:8765")
def command() -> None:
    """Take events of other systems into the broker."""


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
def kubernetes_audit(options: Options, *, listen: str | None, file: str | None, topic: str | None) -> None:
    """Take audit events of Kubernetes API servers, and store each in the topic kubernetes-audit for the processors.

    A webhook answers 200 once the broker has all events of a request, and 429 while it is away: the API server
    buffers and retries. How far a file was read is stored on disk; how far a topic
    was, in the consumer group.
    """
    need("notifier", "aiohttp", "confluent_kafka")
    from lanner.operations.intake import AuditIntakeView
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.check import check_settings
    from lanner.wiring.kafka import topics_in_order
    from lanner.wiring.servers import endpoint
    from lanner.wiring.stages.json_intake import AuditIntake

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
    log_to_stderr(settings.log_level, settings.log_format, "intake")
    check_settings(loaded, "intake")
    connection = connection_of(settings)
    topics_in_order(connection, topics_of("kubernetes-audit"))
    intake = AuditIntake(settings, connection, note)
    view = AuditIntakeView(intake, settings.http.stuck_seconds)
    watchdog = Watchdog()

    def turn() -> None:
        view.turned.beat()
        watchdog.beat()

    with endpoint(settings, "intake", view.readings, view.health()):
        try:
            intake.start()
            notify_systemd("READY=1")
            if not options.quiet:
                note(f"taking audit events from {', '.join(intake.origins)}. Stop: Ctrl-C")
            intake.run(turn)
        finally:
            notify_systemd("STOPPING=1")
            intake.stop()
    if not options.quiet:
        note(f"{count_of(intake.outcomes.total(), 'audit event')} taken")


@front_command(
    "kubernetes",
    example="lanner kubernetes\nlanner kubernetes -o kubernetes.kubeconfig=/etc/lanner/kubeconfig",
    formats=(),
    without=NO_RULES,
)
def kubernetes(options: Options) -> None:
    """Publish a cluster's pods, with their owners, namespaces and services, so that alerts name them.

    Run it once per cluster, not per node. Further ones wait, and one of them takes over if the first one fails. If
    kubernetes.actions enables types of actions, it also does them in the cluster.
    """
    need("kubernetes", "confluent_kafka", "lightkube")
    from lanner.operations.kubernetes import KubernetesView
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.check import check_settings
    from lanner.wiring.kafka import topics_in_order
    from lanner.wiring.servers import endpoint
    from lanner.wiring.stages.kubernetes import kubernetes_service, run_service

    loaded = options.load()
    settings = loaded.settings
    log_to_stderr(settings.log_level, settings.log_format, "kubernetes")
    check_settings(loaded, "kubernetes")
    connection = connection_of(settings)
    pods = kubernetes_service(settings, connection, note)
    acting = topics_of("kubernetes-actions") if settings.kubernetes.actions.enabled else ()
    topics_in_order(connection, (*topics_of("kubernetes"), *acting))
    view = KubernetesView(pods, settings.http.stuck_seconds)
    watchdog = Watchdog()

    def turn() -> None:
        view.turned.beat()
        watchdog.beat()

    with endpoint(settings, "kubernetes", view.readings, view.health()):
        notify_systemd("READY=1")
        if not options.quiet:
            note(f"reading pods from {pods.api.address}. Stop: Ctrl-C")
        run_service(pods, turn)
    if not options.quiet:
        note(f"{pods.written:,} records of pods written")
