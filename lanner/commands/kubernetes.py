"""`lanner kubernetes`: publishes what the API server of a Kubernetes cluster knows about its pods."""

from bus.acls import topics_of
from lanner.cli import systemd
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.output import note
from lanner.installation.libraries import need
from lanner.wiring.kafka import connection_of


@front_command(
    "kubernetes",
    example="lanner kubernetes\nlanner kubernetes -o kubernetes.kubeconfig=/etc/lanner/kubeconfig",
    formats=(),
    without=NO_RULES,
)
def command(options: Options) -> None:
    """Publish a cluster's pods, with their owners, namespaces and services, so that alerts name them.

    Run it once per cluster, not per node. Further ones wait, and one of them takes over if the first one fails.
    """
    need("kubernetes", "confluent_kafka", "lightkube")
    from lanner.cli.logging_setup import log_to_stderr
    from lanner.operations.endpoint import endpoint
    from lanner.operations.readings.kubernetes import KubernetesView
    from lanner.wiring.check import check_settings
    from lanner.wiring.kubernetes import kubernetes_service, run_service
    from lanner.wiring.topic_check import topics_in_order

    loaded = options.load()
    settings = loaded.settings
    log_to_stderr(settings, "kubernetes")
    check_settings(loaded, "kubernetes")
    connection = connection_of(settings)
    service = kubernetes_service(settings, connection, note)
    topics_in_order(connection, topics_of("kubernetes"))
    view = KubernetesView(service, settings.http.stuck_seconds)
    watchdog = systemd.Watchdog()

    def turn() -> None:
        view.turned.beat()
        watchdog.beat()

    with endpoint(settings, "kubernetes", view.readings, view.health()):
        systemd.notify("READY=1")
        if not options.quiet:
            note(f"reading pods from {service.address}. Stop: Ctrl-C")
        run_service(service, turn)
    if not options.quiet:
        note(f"{service.written:,} records of pods written")
