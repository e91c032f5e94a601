"""A processor and a notifier as units on a machine, and alerts that pass both."""

from pathlib import Path

from bus.connection import Connection
from tests.cluster.actions import Alerts, Generator, assert_exact, rules_file
from tests.deploy.machine import Machine

STAGES = ("lanner-processor@1", "lanner-notifier@file")
_LOG = "/var/log/lanner-notifier-file/alerts.log"


def configure(machine: Machine, connection: Connection, *more: str) -> None:
    """Write settings; without probes and metrics, as other tests may use their ports on the same network."""
    kafka = f"kafka: {{bootstrap_servers: '{connection.bootstrap_servers}', prefix: {connection.prefix}}}"
    machine.write("/etc/lanner/lanner.yaml", "\n".join((kafka, "http: {listen: 'off'}", *more, "")))


def assert_delivered(machine: Machine, connection: Connection, folder: Path, seconds: float) -> None:
    """Start the stages with a rule of their own; each action has one alert on the topic and in the notifier's file.

    Args:
        machine: has Lanner's units.
        connection: of a broker with the topics.
        folder: for the rule.
        seconds: how long the topic may have no new alert.
    """
    machine.write("/etc/lanner/rules.d/acts.yaml", rules_file(folder).read_text())
    configure(machine, connection, "rules_files: [/etc/lanner/rules.d]", f"file_output: {{filename: {_LOG}}}")
    started = machine("systemctl", "start", *STAGES)
    assert started.returncode == 0, started.stderr + "".join(map(machine.journal, STAGES))
    generator = Generator(connection)
    generator.act(5)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(len(generator.actions), seconds)
    assert assert_exact(generator.actions, alerts) == 0
    alerts.close()
    machine.wait_until(lambda: machine("wc", "-l", _LOG).stdout.split()[:1] == [str(len(generator.actions))], 30)
