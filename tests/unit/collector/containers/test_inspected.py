from dataclasses import replace
from typing import Any

import pytest

from collector.containers.docker import container_from, container_from_entry, shares_network_with, started_at
from collector.containers.values import MAX_LABEL_BYTES, MAX_LABELS
from collector.processes.container_names import ContainerName
from schemas.batch import Mount
from tests.unit.collector.containers.answers_of_docker import DIGEST, ID, SANDBOX, entry, image, inspected

NAME = ContainerName("docker", ID)

KUBELET = {
    "io.kubernetes.pod.name": "web-7f",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "u-1",
    "io.kubernetes.sandbox.id": SANDBOX,
    "io.kubernetes.container.name": "app",
}


def test_everything_that_docker_reports_is_taken() -> None:
    """Name, image and its parts, mounts, address, start, privileges."""
    found = container_from(NAME, inspected(), image())

    assert (found.id, found.full_id, found.type, found.name, found.user) == (ID[:12], ID, "docker", "web", "app")
    assert (found.image, found.image_id) == ("registry:5000/team/web:1.2", "5" * 64)
    assert (found.image_repository, found.image_tag, found.image_digest) == ("registry:5000/team/web", "1.2", DIGEST)
    assert (found.privileged, found.host_pid, found.host_network, found.host_ipc) == (False, False, False, False)
    assert found.mounts == (Mount("/srv", "/data", "ro", rw=False, propagation="rprivate"),)
    assert (found.ip, found.start_ts) == ("172.17.0.2", 1795530690479359480)
    assert found.labels == (("app", "web"),)
    assert (found.pod_name, found.pod_labels) == (None, None)


def test_an_entry_of_the_list_shows_name_image_labels_mounts_and_address() -> None:
    """What it doesn't show is unknown rather than false; the alias of a link is no name."""
    found = container_from_entry(NAME, entry())

    whole = container_from(NAME, inspected())
    assert found == replace(whole, start_ts=None, user=None, privileged=None, host_pid=None, host_ipc=None)


def test_host_namespaces_and_privileges_are_reported() -> None:
    """They are what makes a container dangerous."""
    host = {"Privileged": True, "PidMode": "host", "NetworkMode": "host", "IpcMode": "host"}

    found = container_from(NAME, inspected(HostConfig=host))

    assert (found.privileged, found.host_pid, found.host_network, found.host_ipc) == (True, True, True, True)


@pytest.mark.parametrize("reference", ["5" * 64, "sha256:" + "5" * 64, "5" * 12])
def test_a_container_started_by_an_image_s_id_gets_its_name(reference: str) -> None:
    """If the image has one."""
    answer = inspected(Config={"Image": reference})

    named, nameless = container_from(NAME, answer, image()), container_from(NAME, answer, {"RepoTags": []})

    assert (named.image_repository, named.image_tag) == ("registry:5000/team/web", "1.2")
    assert (nameless.image_repository, nameless.image_tag, nameless.image) == (None, None, reference)


def test_the_kubelet_s_labels_describe_the_pod() -> None:
    """The pod's labels and address are the sandbox's."""
    answer = inspected(
        Config={"Image": "web:1", "Labels": KUBELET},
        HostConfig={"NetworkMode": f"container:{SANDBOX}"},
        NetworkSettings={},
    )
    pod = {"app": "shop", "annotation.x": "y", "io.kubernetes.docker.type": "podsandbox"}
    sandbox = inspected(Config={"Labels": pod}, NetworkSettings={"Networks": {"pods": {"IPAddress": "10.1.2.3"}}})

    found = container_from(NAME, answer, None, sandbox)

    assert shares_network_with(answer) == SANDBOX
    assert (found.pod_name, found.pod_namespace, found.pod_uid) == ("web-7f", "shop", "u-1")
    assert (found.pod_sandbox_id, found.pod_labels, found.ip) == (SANDBOX, (("app", "shop"),), "10.1.2.3")


def test_without_a_sandbox_a_container_s_own_labels_are_the_pod_s() -> None:
    """Except for the kubelet's."""
    found = container_from(NAME, inspected(Config={"Image": "web:1", "Labels": {**KUBELET, "app": "x"}}))

    assert found.pod_labels == (("app", "x"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T14:31:30Z", 1795530690000000000),
        ("2026-11-24T15:31:30.5+01:00", 1795530690500000000),
        ("0001-01-01T00:00:00Z", None),
        ("2026-13-40T00:00:00Z", None),
        ("soon", None),
        (5, None),
    ],
)
def test_starts_are_read_to_the_nanosecond(text: object, expected: int | None) -> None:
    """A container that doesn't run yet has none."""
    assert started_at({"State": {"StartedAt": text}}) == expected


@pytest.mark.parametrize(
    "answer",
    [
        {},
        dict.fromkeys(inspected()),
        dict.fromkeys(inspected(), 5),
        {key: [] for key in inspected()},
        dict.fromkeys(inspected(), "x"),
        {"Config": {"Labels": {"a": 5}}, "Mounts": [5, {"Source": 7}], "NetworkSettings": {"Networks": {"a": 1}}},
    ],
)
def test_an_answer_of_other_types_gives_what_is_certain(answer: dict[str, Any]) -> None:
    """No part of the response raises an error."""
    found = container_from(NAME, answer, answer, answer)

    assert (found.id, found.type) == (ID[:12], "docker")


def test_labels_are_bounded_and_the_kubelet_s_retained() -> None:
    """An image may carry any number of labels of any size."""
    labels = {f"a{number:05}": "x" for number in range(5000)} | {"big": "x" * (MAX_LABEL_BYTES + 1)} | KUBELET

    found = container_from(NAME, inspected(Config={"Labels": labels}))

    assert found.labels is not None
    assert len(found.labels) == MAX_LABELS
    assert found.pod_name == "web-7f"
    assert "big" not in dict(found.labels)
