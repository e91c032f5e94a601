"""Containers that neither Docker nor a kubelet started are containers all the same, never the host."""

from pathlib import Path

import pytest

from collector.settings import CollectorSettings
from tests.live.collector.watching import watching
from tests.live.containerd import BUSYBOX, Containerd
from tests.live.podman import BUSYBOX as PODMANS
from tests.live.podman import Podman

pytestmark = pytest.mark.containers

READ = ("/bin/sh", "-c", "/bin/sleep 0.5; /bin/cat /etc/group; /bin/sleep 0.5")
"""Lives longer than a query takes: ctr and Podman forget a container with --rm as soon as it ends."""


def test_a_container_of_ctr_has_its_name_and_image(containerd: Containerd) -> None:
    """Its id is the name that was given to it."""
    command = containerd.run_command(BUSYBOX, "my-box", *READ, namespace="default")
    with watching("open", "openat") as watch:
        watch.run(*command)
        event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]

    assert (event["container.id"], event["container.type"], event["container.name"]) == (
        "my-box",
        "containerd",
        "my-box",
    )
    assert event["container.image"] == BUSYBOX
    assert event["container.image.digest"].startswith("sha256:")


def test_in_a_namespace_of_any_name_it_is_found_by_its_shim(containerd: Containerd) -> None:
    """Its cgroup's path alone could be anything."""
    containerd.ctr("images", "import", str(containerd.base / "image.tar"), namespace="team")
    command = containerd.run_command(BUSYBOX, "box-2", *READ, namespace="team")
    with watching("open", "openat") as watch:
        watch.run(*command)
        event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]

    assert (event["container.id"], event["container.type"], event["container.image"]) == (
        "box-2",
        "containerd",
        BUSYBOX,
    )


def test_a_container_of_podman_has_name_and_image_without_its_socket(podman: Podman) -> None:
    """Both are stored beside its bundle; conmon shows where that is."""
    with watching("open", "openat") as watch:
        watch.run(*podman.run_command("web", "/bin/cat", "/etc/group"))
        event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]

    assert (event["container.type"], event["container.name"], event["container.image"]) == ("podman", "web", PODMANS)
    assert event["container.privileged"] is False


def test_podmans_socket_adds_labels(podman: Podman, tmp_path: Path) -> None:
    """It answers Docker's API."""
    command = podman.run_command("web-2", *READ, options=("--label", "tier=front"))
    with podman.socket() as socket:
        settings = CollectorSettings(docker_socket=tmp_path / "none", podman_socket=socket)
        with watching("open", "openat", settings=settings) as watch:
            watch.run(*command)
            event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]

    assert (event["container.name"], event["container.label[tier]"]) == ("web-2", "front")


def test_a_process_under_unshare_is_in_a_container_of_unknown_type() -> None:
    """It has process ids and mounts of its own, and no runtime knows it; its children are in it too."""
    script = "cat /etc/group; sh -c 'cat /etc/passwd; true'"
    with watching("open", "openat") as watch:
        watch.run("unshare", "--pid", "--fork", "--mount", "sh", "-c", script)
        inside = [watch.events(fd__name=path, proc__name="cat")[-1] for path in ("/etc/group", "/etc/passwd")]

    assert {event["container.type"] for event in inside} == {"unknown"}
    assert len({event["container.id"] for event in inside}) == 1


def test_mounts_alone_leave_a_process_on_the_host() -> None:
    """Systemd gives many services a /tmp of their own."""
    with watching("open", "openat") as watch:
        watch.run("unshare", "--mount", "cat", "/etc/group")
        event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]

    assert event["container.id"] == "host"
