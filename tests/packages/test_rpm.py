"""The .rpm by rpm, in a root of its own with a booted systemd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import Machine
from tests.packages.conftest import Packages, booted
from tests.packages.test_deb import UNIT, do

pytestmark = pytest.mark.timeout(3600)

SETTINGS = "/etc/lanner/lanner.yaml"


@pytest.fixture
def machine(debian: Path, packages: Packages, tmp_path: Path) -> Iterator[Machine]:
    """Boot a root with rpm, and the packages and the key that signed the newer one in /opt."""
    yield from booted(debian, packages, ".rpm", tmp_path)


def test_it_is_installed_upgraded_downgraded_and_removed(machine: Machine) -> None:
    """Changed settings stay, and units that run are restarted. The root's own packages are not rpm's: --nodeps."""
    do(machine, "rpm", "-i", "--nodeps", "/opt/now.rpm")
    assert do(machine, "rpm", "-qc", "lanner").split() == [SETTINGS]
    assert "glibc >= 2." in do(machine, "rpm", "-qR", "lanner")
    assert "valid" in do(machine, "lanner", "config", "check")
    former = do(machine, "rpm", "-q", "lanner")
    do(machine, "sh", "-c", f"echo 'log_level: debug' >>{SETTINGS}")
    do(machine, "systemctl", "enable", UNIT)
    do(machine, "systemctl", "start", "--no-block", UNIT)

    def pid() -> str:
        return machine("systemctl", "show", "-P", "MainPID", UNIT).stdout.strip()

    for package, wanted in (("new", "lanner-9.0.0"), ("now", former)):
        machine.wait_until(lambda: pid() not in {"", "0"}, 30)
        before = pid()
        do(machine, "rpm", "-U", "--nodeps", "--oldpackage", f"/opt/{package}.rpm")
        assert do(machine, "rpm", "-q", "lanner").startswith(wanted)
        assert "log_level: debug" in do(machine, "cat", SETTINGS)
        machine.wait_until(lambda before=before: pid() not in {"", "0", before}, 30)

    do(machine, "rpm", "-e", "lanner")
    assert machine("systemctl", "is-active", UNIT).returncode != 0
    assert do(machine, "sh", "-c", "find /etc/systemd/system /usr -xdev -name '*lanner*' -not -name planners") == ""
    assert "log_level: debug" in do(machine, "cat", f"{SETTINGS}.rpmsave")


def test_rpm_checks_its_signature(machine: Machine) -> None:
    """With the builder's public key."""
    assert machine("rpm", "-K", "/opt/new.rpm").returncode != 0
    do(machine, "rpm", "--import", "/opt/key.asc")
    assert "digests signatures OK" in do(machine, "rpm", "-K", "/opt/new.rpm")
