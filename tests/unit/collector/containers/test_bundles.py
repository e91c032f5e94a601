import json
import os
import socket
from pathlib import Path

import pytest

from collector.containers.bundles import Bundles, with_config
from collector.containers.values import MAX_BYTES, ResponseTooLarge
from collector.processes.container_names import ContainerName
from tests.unit.collector.containers.test_shims import SHIM, shim

ID = "b" * 64
NAME = ContainerName("containerd", ID, None, f"/kubepods/besteffort/pod1/{ID}")
CONFIG = {"annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "web"}}
pytestmark = pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="a shim is root's")


def write(path: Path, value: object = CONFIG) -> None:
    """Write a JSON file and its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_a_bundle_beside_the_shims_own_is_found_wherever_it_is(roots: Path) -> None:
    """k3s, microk8s and moved directories need no setting; the socket for further questions comes with it."""
    own = roots / "moved" / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    with shim(own, *SHIM) as (_, child):
        bundle = Bundles([], []).find(NAME, child)

    assert bundle is not None
    assert (bundle.facts.name, bundle.namespace) == ("web", "k8s.io")


def test_a_socket_that_is_not_here_is_reached_through_the_hosts_root(roots: Path) -> None:
    """A collector in a container needs no mount of it; the host's first process keeps its id, unlike a shim."""
    own = roots / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    path = roots / "containerd.sock"
    arguments = [str(path) if each.endswith(".sock") else each for each in SHIM]
    with shim(own, *arguments) as (_, child):
        without = Bundles([], []).find(NAME, child)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            there = Bundles([], []).find(NAME, child)

    assert without is not None
    assert there is not None
    assert (without.socket, there.socket) == (f"/proc/1/root{path}", str(path))


def test_what_a_shim_revealed_serves_containers_that_are_gone_already(roots: Path) -> None:
    """A container that lives for a millisecond leads to no shim, but its bundle is there a little longer."""
    own = roots / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    bundles = Bundles([], [])
    with shim(own, *SHIM) as (_, child):
        bundles.find(NAME, child)

    assert bundles.find(NAME, None) is not None


@pytest.mark.parametrize("changed", ["k8s.io", "."])
def test_a_folder_that_others_can_change_is_not_learned(roots: Path, changed: str) -> None:
    """Whoever puts bundles there chooses what containers are taken for."""
    own = roots / "k8s.io" / ("a" * 64)
    own.mkdir(parents=True)
    write(own.parent / ID / "config.json")
    (roots / changed).chmod(0o1777)
    bundles = Bundles([roots], [])
    with shim(own, *SHIM) as (pid, child):
        assert bundles.learn(pid)
        assert bundles.find(NAME, child) is None

    assert bundles.find(NAME, None) is None


def test_many_runtimes_push_out_no_new_one(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that was learned last is the likeliest to matter."""
    monkeypatch.setattr("collector.containers.bundles.MAX_FOLDERS", 2)
    bundles = Bundles([], [])
    for namespace in ("one", "two", "three"):
        own = roots / namespace / ("a" * 64)
        own.mkdir(parents=True)
        write(own.parent / ID / "config.json")
        with shim(own, *SHIM) as (pid, _):
            bundles.learn(pid)

    assert [Path(folder).name for folder in bundles._learned] == ["two", "three"]
    assert bundles.find(NAME, None) is not None


@pytest.mark.parametrize(("padding", "is_known"), [(1_200_000, True), (MAX_BYTES - 1000, True), (MAX_BYTES, False)])
def test_a_large_specification_is_decoded_or_called_truncated(roots: Path, padding: int, *, is_known: bool) -> None:
    """Whoever creates a container could pad it, to hide that it is privileged."""
    privileged = {"linux": {"resources": {"devices": [{"allow": True, "access": "rwm"}]}}}
    environment = {"process": {"env": ["X=" + "x" * (padding - 2)]}}
    write(roots / "k8s.io" / ID / "config.json", {**CONFIG, **privileged, **environment})

    early = Bundles([roots], []).find(NAME, None)

    assert early is not None
    assert (early.facts.is_truncated, early.facts.privileged, early.facts.mounts) == (True, None, None)
    assert (early.config is not None) == is_known
    if is_known:
        found = with_config(early, NAME).facts
        assert (found.is_truncated, found.privileged, found.name, found.mounts) == (False, True, "web", ())


def test_a_specification_that_only_looks_like_one_is_truncated(roots: Path) -> None:
    """It needs more memory than its facts are worth."""
    (roots / "k8s.io" / ID).mkdir(parents=True)
    (roots / "k8s.io" / ID / "config.json").write_bytes(b'{"x": [' + b"[]," * 5_000_000 + b"1]}")
    early = Bundles([roots], []).find(NAME, None)

    assert early is not None
    with pytest.raises(ResponseTooLarge):
        with_config(early, NAME)


def test_dockers_bundle_has_what_docker_may_answer_too_late(roots: Path) -> None:
    """It has neither the name nor the user that the image names."""
    write(roots / "moby" / ID / "config.json", {**CONFIG, "annotations": {}, "process": {"user": {"uid": 0}}})
    name = ContainerName("docker", ID, None, f"/docker/{ID}")

    bundle = Bundles([roots], []).find(name, None)

    assert bundle is not None
    facts = bundle.facts
    assert (bundle.namespace, facts.type, facts.name, facts.user, facts.mounts) == ("moby", "docker", None, None, ())


def test_the_usual_directories_are_looked_at(roots: Path) -> None:
    """For each namespace of containerd."""
    write(roots / "default" / ID / "config.json")

    bundle = Bundles([roots / "none", roots], []).find(NAME, None)

    assert bundle is not None
    assert bundle.namespace == "default"


def test_podmans_name_comes_from_the_record_beside_its_bundles(roots: Path) -> None:
    """Conmon names the bundle; a container with --rm is noted in a second file."""
    write(roots / ID / "userdata" / "config.json", {"annotations": {}})
    write(roots / "containers.json", [{"id": "c" * 64, "names": ["other"]}])
    write(roots / "volatile-containers.json", [{"id": ID, "names": ["web"]}])
    name = ContainerName("podman", ID, None, f"/machine.slice/libpod-{ID}.scope")
    with shim(roots, "-b", str(roots / ID / "userdata"), name="conmon") as (_, child):
        bundle = Bundles([], []).find(name, child)

    assert bundle is not None
    assert (bundle.facts.name, bundle.facts.type) == ("web", "podman")


@pytest.mark.parametrize("kind", ["link", "parent", "fifo", "empty"])
def test_what_is_not_a_plain_file_is_not_read(roots: Path, kind: str) -> None:
    """No link leads out, and no FIFO blocks."""
    secret = roots / "secret" / "config.json"
    write(secret)
    folder = roots / "tasks" / "default" / ID
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

    assert Bundles([roots / "tasks"], []).find(NAME, None) is None


@pytest.mark.parametrize(
    "name",
    [
        ContainerName("containerd", ID, None, f"/docker/{ID}/docker/{ID}", is_certain=False),
        ContainerName("containerd", "..", None, "/default/.."),
    ],
)
def test_some_containers_have_no_bundle_to_believe(roots: Path, name: ContainerName) -> None:
    """A nested one, whose bundle is elsewhere, and an id that is a path."""
    write(roots / "default" / ID / "config.json")

    assert Bundles([roots], []).find(name, None) is None
