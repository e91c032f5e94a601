"""The .deb on Debian 12 and 13, under a booted systemd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.connection import Connection
from tests.deploy.delivery import STAGES, assert_delivered
from tests.deploy.machine import Machine
from tests.packages.conftest import Packages, booted

pytestmark = pytest.mark.timeout(3600)

UNIT = "lanner-notifier@file"


@pytest.fixture
def machine(debian: Path, packages: Packages, tmp_path: Path) -> Iterator[Machine]:
    """Boot a Debian with the packages in /opt."""
    yield from booted(debian, packages, ".deb", tmp_path)


def do(machine: Machine, *command: str) -> str:
    """Run a command that has to succeed, and return its output."""
    done = machine(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version(machine: Machine) -> str:
    """Return the installed version."""
    return do(machine, "dpkg-query", "-W", "-f=${Version}", "lanner")


def test_an_installed_fleet_passes_an_alert_on(machine: Machine, connection: Connection, tmp_path: Path) -> None:
    """Every stage's libraries are in the package: processor and notifier run as units, without a Python on the host."""
    do(machine, "dpkg", "-i", "/opt/now.deb")
    assert machine("sh", "-c", "command -v python3").returncode != 0
    assert "lanner.service" in do(machine, "systemctl", "list-unit-files", "lanner*")
    assert "Runtime threat detection" in do(machine, "sh", "-c", "gzip -dc /usr/share/man/man1/lanner.1.gz")
    assert "valid" in do(machine, "lanner", "config", "check")

    assert_delivered(machine, connection, tmp_path, 60)
    do(machine, "systemctl", "stop", *STAGES)


def test_it_is_upgraded_downgraded_and_removed(machine: Machine) -> None:
    """Changed settings stay, units that run are restarted, and only purging removes data."""
    do(machine, "dpkg", "-i", "/opt/now.deb")
    former = version(machine)
    do(machine, "sh", "-c", "echo 'log_level: debug' >>/etc/lanner/lanner.yaml; echo kept >/etc/lanner/notifier.env")
    do(machine, "systemctl", "enable", UNIT)
    do(machine, "systemctl", "start", "--no-block", UNIT)

    def pid() -> str:
        return machine("systemctl", "show", "-P", "MainPID", UNIT).stdout.strip()

    for package, wanted in (("new", "9.0.0"), ("now", former)):
        machine.wait_until(lambda: pid() not in {"", "0"}, 30)
        before = pid()
        do(machine, "dpkg", "-i", "--force-confdef", "--force-confold", f"/opt/{package}.deb")
        assert version(machine) == wanted
        assert "log_level: debug" in do(machine, "cat", "/etc/lanner/lanner.yaml")
        machine.wait_until(lambda before=before: pid() not in {"", "0", before}, 30)

    do(machine, "dpkg", "-r", "lanner")
    assert machine("systemctl", "is-active", UNIT).returncode != 0
    assert do(machine, "sh", "-c", "find /etc/systemd/system -name 'lanner*'") == ""
    assert "log_level: debug" in do(machine, "cat", "/etc/lanner/lanner.yaml")
    do(machine, "mkdir", "-p", "/var/lib/lanner")
    do(machine, "dpkg", "-P", "lanner")
    left = do(machine, "sh", "-c", "find / -xdev -name '*lanner*' -not -name planners -not -path '/opt/*'")
    assert left == "/etc/lanner\n"


def test_unchanged_settings_are_those_of_the_installed_version(machine: Machine) -> None:
    """Nobody is asked."""
    do(machine, "dpkg", "-i", "/opt/now.deb")
    do(machine, "dpkg", "-i", "/opt/new.deb")
    assert "of the next version" in do(machine, "cat", "/etc/lanner/lanner.yaml")
