import json
import os
import socket
from pathlib import Path

import pytest

from collector.containers.bundles.bundles import Bundles
from collector.containers.identity.naming import ContainerName
from tests.unit.collector.containers.bundles.test_shims import SHIM, shim

ID = "b" * 64
NAME = ContainerName("containerd", ID, None, f"/kubepods/besteffort/pod1/{ID}")
CONFIG = {"annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "web"}}
pytestmark = pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="a shim is root's")


def write(path: Path, value: object = CONFIG) -> None:
    """Write a JSON file and its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_a_bundle_beside_the_shims_own_is_found_wherever_it_is(tmp_path: Path) -> None:
    """k3s, microk8s and moved directories need no setting; the socket for further questions comes with it."""
    own = tmp_path / "moved" / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    with shim(own, *SHIM) as (_, child):
        bundle = Bundles([], []).find(NAME, child)

    assert bundle is not None
    assert (bundle.facts.name, bundle.namespace) == ("web", "k8s.io")


def test_a_socket_that_is_not_here_is_reached_through_the_shims_root(tmp_path: Path) -> None:
    """A collector in a container needs no mount of it."""
    own = tmp_path / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    path = tmp_path / "containerd.sock"
    arguments = [str(path) if each.endswith(".sock") else each for each in SHIM]
    with shim(own, *arguments) as (pid, child):
        without = Bundles([], []).find(NAME, child)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            there = Bundles([], []).find(NAME, child)

    assert without is not None
    assert there is not None
    assert (without.socket, there.socket) == (f"/proc/{pid}/root{path}", str(path))


def test_what_a_shim_revealed_serves_containers_that_are_gone_already(tmp_path: Path) -> None:
    """A container that lives for a millisecond leads to no shim, but its bundle is there a little longer."""
    own = tmp_path / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    bundles = Bundles([], [])
    with shim(own, *SHIM) as (_, child):
        bundles.find(NAME, child)

    assert bundles.find(NAME, None) is not None


def test_the_usual_directories_are_looked_at(tmp_path: Path) -> None:
    """For each namespace of containerd."""
    write(tmp_path / "default" / ID / "config.json")

    bundle = Bundles([tmp_path / "none", tmp_path], []).find(NAME, None)

    assert bundle is not None
    assert bundle.namespace == "default"


def test_podmans_name_comes_from_the_record_beside_its_bundles(tmp_path: Path) -> None:
    """Conmon names the bundle; a container with --rm is noted in a second file."""
    write(tmp_path / ID / "userdata" / "config.json", {"annotations": {}})
    write(tmp_path / "containers.json", [{"id": "c" * 64, "names": ["other"]}])
    write(tmp_path / "volatile-containers.json", [{"id": ID, "names": ["web"]}])
    name = ContainerName("podman", ID, None, f"/machine.slice/libpod-{ID}.scope")
    with shim(tmp_path, "-b", str(tmp_path / ID / "userdata"), name="conmon") as (_, child):
        bundle = Bundles([], []).find(name, child)

    assert bundle is not None
    assert (bundle.facts.name, bundle.facts.type) == ("web", "podman")


@pytest.mark.parametrize("kind", ["link", "parent", "fifo", "empty"])
def test_what_is_not_a_plain_file_is_not_read(tmp_path: Path, kind: str) -> None:
    """No link leads out, and no FIFO blocks."""
    secret = tmp_path / "secret" / "config.json"
    write(secret)
    folder = tmp_path / "tasks" / "default" / ID
    if kind == "parent":
        folder.parent.mkdir(parents=True)
        folder.symlink_to(secret.parent)
    else:
        folder.mkdir(parents=True)
    if kind == "link":
        (folder / "config.json").symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(folder / "config.json")
    elif kind == "empty":
        (folder / "config.json").touch()

    assert Bundles([tmp_path / "tasks"], []).find(NAME, None) is None


@pytest.mark.parametrize(
    "name",
    [
        ContainerName("containerd", ID, None, f"/docker/{ID}/docker/{ID}", is_certain=False),
        ContainerName("docker", ID, None, f"/docker/{ID}"),
        ContainerName("containerd", "..", None, "/default/.."),
    ],
)
def test_some_containers_have_no_bundle_to_believe(tmp_path: Path, name: ContainerName) -> None:
    """A nested one, whose bundle is elsewhere, Docker's bundles without facts, and an id that is a path."""
    write(tmp_path / "default" / ID / "config.json")

    assert Bundles([tmp_path], []).find(name, None) is None
