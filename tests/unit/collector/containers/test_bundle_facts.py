import json

import pytest

from collector.containers.bundle_facts import container_from, parsed_object, parsed_records, with_storage_record
from collector.containers.values import MAX_MOUNT_CHARACTERS, MAX_MOUNTS
from collector.processes.container_names import ContainerName
from schemas.batch import Container, Mount
from tests.unit.collector.containers.answers import NGINX, recorded, with_answers

NAME = ContainerName("containerd", "a" * 64, "1" * 8)


def facts(file: str) -> Container:
    """Return the facts in a recorded bundle."""
    return container_from(NAME, recorded(f"bundle/{file}_config.json"))


def chosen(container: Container) -> dict[str, object]:
    """Return the facts that every runtime's bundle has."""
    return {key: getattr(container, key) for key in NGINX}


@with_answers
@pytest.mark.parametrize("runtime", ["containerd", "containerd2", "crio"])
def test_the_same_container_has_the_same_facts_on_each_runtime(runtime: str) -> None:
    """Containerd 2.1 writes nginx:1.27 and the others the whole reference."""
    assert chosen(facts(f"{runtime}_container")) == NGINX


@with_answers
def test_a_privileged_pod_that_mounts_the_host_is_seen_in_its_bundle() -> None:
    """Launch Privileged Container and the rules about sensitive mounts need no answer from the runtime."""
    found = facts("containerd_privileged")

    assert found.privileged
    assert Mount("/", "/host", "", rw=True, propagation="private") in (found.mounts or ())


@with_answers
def test_a_sandbox_has_its_pods_facts() -> None:
    """Its image is the pause image, where the bundle names it."""
    old, new, crio = map(facts, ("containerd_sandbox", "containerd2_sandbox", "crio_sandbox"))

    assert (old.name, old.pod_name, old.pod_namespace, old.image) == (old.pod_name, old.name, "prod", None)
    assert (new.pod_uid, new.image) == ("11111111-2222-3333-4444-555555555555", "registry.k8s.io/pause:3.10")
    assert (crio.name, crio.pod_labels) == ("web-1", (("app", "web"), ("team", "payments")))


@with_answers
def test_cri_o_writes_digest_and_address_too() -> None:
    """The image's name is the one that was requested, not the first of those with the same id."""
    found = facts("crio_container")

    assert found.image_digest == "sha256:480db762abed330742e34c69e22adff4a319ced99e23562ea367c76e34e6be59"
    assert (found.ip, found.image_tag) == ("10.244.0.38", "1.27")


@with_answers
def test_podman_stores_name_and_image_beside_the_bundles() -> None:
    """The bundle alone has neither."""
    bundle = facts("podman")
    found = with_storage_record(bundle, recorded("bundle/podman_containers.json")[0])

    assert (bundle.name, bundle.image) == (None, None)
    assert (found.name, found.image) == ("web", "docker.io/library/busybox:1.36")
    assert Mount("/var/log", "/host/log", "", rw=False, propagation="private") in (found.mounts or ())


@pytest.mark.parametrize("config", [{}, {"annotations": 5, "linux": [], "mounts": {}, "process": "x"}])
def test_a_bundle_without_facts_makes_none_up(config: dict[str, object]) -> None:
    """Values of another type count as missing."""
    found = container_from(NAME, config)

    assert (found.name, found.image, found.privileged, found.host_network) == (None, None, None, None)
    assert found.pod_uid == NAME.pod_uid


def test_a_missing_namespace_is_the_hosts_and_one_by_path_may_be() -> None:
    """A pod's container joins its sandbox's namespaces by path, whether or not these are the host's."""
    namespaces = [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}]
    found = container_from(NAME, {"linux": {"namespaces": namespaces}})

    assert (found.host_pid, found.host_network, found.host_ipc) == (False, None, True)


def test_an_image_id_names_no_repository() -> None:
    """The kubelet requests images by id from CRI-O."""
    annotations = {
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.Image": "5" * 64,
        "io.kubernetes.cri-o.ImageName": "quay.io/a/b:1",
    }

    assert container_from(NAME, {"annotations": annotations}).image == "quay.io/a/b:1"


def test_mounts_are_bounded() -> None:
    """Whoever writes a pod's manifest chooses how many there are."""
    mounts = [{"type": "bind", "source": "/a", "destination": f"/{number}"} for number in range(MAX_MOUNTS + 1)]

    cut, whole = (container_from(NAME, {"mounts": mounts[:number]}) for number in (MAX_MOUNTS + 1, MAX_MOUNTS))
    assert [len(each.mounts or ()) for each in (cut, whole)] == [MAX_MOUNTS, MAX_MOUNTS]
    assert (cut.is_truncated, whole.is_truncated) == (True, False)
    long = [{"type": "bind", "source": "/a", "destination": f"/{number}" * 1000} for number in range(MAX_MOUNTS)]
    found = container_from(NAME, {"mounts": long}).mounts or ()
    assert 0 < sum(len(mount.source + mount.dest) for mount in found) <= MAX_MOUNT_CHARACTERS


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "5", "[" * 100_000, b"\xff"])
def test_what_is_not_json_is_empty(text: str | bytes | None) -> None:
    """Truncated, another type, deeply nested, not UTF-8."""
    assert parsed_object(text) == {}
    assert parsed_records(json.dumps([1, {"id": "a"}]).encode()) == [{"id": "a"}]
