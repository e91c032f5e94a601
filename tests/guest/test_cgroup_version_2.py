"""Each container has its name on a host with cgroup version 2 alone, under Debian's own kernel."""

import json

import pytest

from tests.guest.machine import Written

pytestmark = pytest.mark.timeout(3600)

Asked = dict[str, tuple[object, object, object]]


@pytest.fixture(scope="module")
def asked(written: Written) -> Asked:
    """Type, name and image by what was asked."""
    alerts = [json.loads(line) for line in written.alerts if '"Asked"' in line]
    assert alerts, written.log
    assert "cgroup2 on /sys/fs/cgroup type cgroup2" in written.log
    names = ("container.type", "container.name", "container.image.repository")
    found = {}
    for alert in alerts:
        fields = alert["output_fields"]
        found[fields["fd.name"].removeprefix("/etc/asked-")] = tuple(fields.get(name) for name in names)
    return found


@pytest.mark.parametrize("name", ["podman", "cgroupfs", "runc"])
def test_a_container_of_podman_has_its_names(asked: Asked, name: str) -> None:
    """By systemd's scopes and by plain cgroups, with runc and crun."""
    assert asked[name] == ("podman", name, "localhost/test/debian")


def test_a_command_in_a_running_container_has_its_names(asked: Asked) -> None:
    """`podman exec` starts it in the container's cgroup."""
    assert asked["exec"] == ("podman", "entered", "localhost/test/debian")


def test_a_container_of_docker_has_its_names(asked: Asked) -> None:
    """Docker makes scopes of systemd where cgroup version 2 is used."""
    assert asked["docker"] == ("docker", "docker", "test/debian")


def test_a_container_of_containerd_is_not_the_host(asked: Asked) -> None:
    """`ctr` names its cgroup after the container."""
    assert asked["ctr"][:2] == ("containerd", "ctr")


def test_namespaces_without_a_runtime_are_an_unknown_container(asked: Asked) -> None:
    """`unshare` with process and mount namespaces of its own."""
    assert asked["unshare"][0] == "unknown"


@pytest.mark.parametrize("name", ["service", "host"])
def test_processes_of_the_host_are_the_host_s(asked: Asked, name: str) -> None:
    """Also in the cgroup of a service of systemd."""
    assert asked[name][:2] == ("host", "host")
