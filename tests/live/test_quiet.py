"""A minute of ordinary work raises no alert on the host, and in containers only the one on package management."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.errors import EnvironmentUnsupported
from tests.live import ordinary_work as work
from tests.live.containers import Docker
from tests.live.debian_image import NoDebian
from tests.live.dockerd import PRIVILEGED_RUNTIME
from tests.live.needs import lacking
from tests.live.ordinary_host import OrdinaryHost, ordinary_host
from tests.live.quiet import ACCOUNTS, PACKAGES, noise
from tests.live.watching import Watch

pytestmark = [pytest.mark.live, pytest.mark.containers]


@pytest.fixture(scope="module")
def host() -> Iterator[OrdinaryHost]:
    """Yield a Debian host to work on."""
    try:
        with ordinary_host() as found:
            yield found
    except NoDebian as missing:
        lacking(str(missing))


@pytest.fixture
def watch(docker: Docker, bytecode: Path) -> Iterator[Watch]:
    """Watch this machine with the shipped rules; the host of these tests has namespaces of its own."""
    docker.busybox()
    try:
        watching = Watch(docker.socket, bytecode, unknown_containers=False).__enter__()
    except EnvironmentUnsupported as missing:
        lacking(missing.reason)
    try:
        yield watching
    finally:
        watching.__exit__(None, None, None)


def test_development_is_quiet(watch: Watch, tmp_path: Path) -> None:
    """Git, make, gcc, pip, and common tools."""
    work.use_git(tmp_path)
    work.use_make_and_gcc(tmp_path)
    work.use_pip(tmp_path)
    work.use_tools(tmp_path)

    watch.settle()
    assert noise(watch.ours) == []
    assert watch.events > 0


def test_building_root_directories_is_quiet(watch: Watch, tmp_path: Path) -> None:
    """What is written below another root is no file of this system, inside of a chroot and outside."""
    work.build_a_root(tmp_path)

    watch.settle()
    assert noise(watch.ours) == []


def test_administration_is_quiet(watch: Watch, host: OrdinaryHost, tmp_path: Path) -> None:
    """Installing packages, accounts and passwords, su, sudo, logins by SSH, cron and nightly jobs."""
    if not host.install():
        lacking("apt-get can't reach its mirror")
    with host.daemon("cron", "-f"):
        work.log_in(host, tmp_path)
        work.keep_house(host)

    watch.settle()
    assert noise(watch.ours) == []
    # Quiet is not blindness: on the same host, alerts are raised when cat reads a file that sshd may read, and when a
    # shell writes one that visudo may write.
    host.run("cat", "/etc/shadow")
    host.run("sh", "-c", "echo > /etc/sudoers.d/eve")
    watch.settle()
    found = [alert.rule for alert in watch.ours if alert.rule != ACCOUNTS]
    assert found == ["Read sensitive file untrusted", "Write account file"]


def test_containers_give_package_management_only(watch: Watch, docker: Docker, tmp_path: Path) -> None:
    """Building, running, entering, copying, committing and removing."""
    work.build_and_run(docker, tmp_path, "cron")

    watch.settle()
    assert noise(watch.ours) == []
    assert {alert.rule for alert in watch.ours} == {PACKAGES}


def test_devices_that_a_privileged_container_starts_with_are_quiet(watch: Watch, docker: Docker) -> None:
    """The runtime makes a device file for each disk of the host before the container's program starts."""
    options = ("--privileged", "--runtime", PRIVILEGED_RUNTIME)
    docker.run(docker.busybox(), "busybox", "mknod", "/tmp/disk", "b", "7", "0", options=options)

    watch.settle()
    made = [alert.output_fields["fs.path.name"] for alert in watch.ours if alert.rule == "Access device in container"]
    assert made == ["/tmp/disk"]
