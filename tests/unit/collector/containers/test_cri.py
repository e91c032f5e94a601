import pytest

from collector.containers.cri import StatusResponse, container_of_sandbox, container_of_status, runtime_version
from collector.containers.protobuf import encode
from collector.containers.values import MAX_BYTES
from collector.processes.container_names import ContainerName
from schemas.batch import Container, Mount
from tests.unit.collector.containers.answers import NGINX, container_status, recorded, sandbox_status, with_answers

RUNTIMES = {
    "containerd 1.6": ("container_status_prod_web_nginx", "pod_sandbox_status_prod_web_nginx"),
    "containerd 2.1": ("containerd2_container_status", "containerd2_pod_sandbox_status"),
    "CRI-O 1.37": ("crio_container_status", "crio_pod_sandbox_status"),
}


def facts(runtime: str) -> Container:
    """Return the facts in a runtime's recorded answers."""
    container, sandbox = (recorded(f"{name}.json") for name in RUNTIMES[runtime])
    name = ContainerName("containerd", container["status"]["id"])
    answers = StatusResponse(container_status(container)), StatusResponse(sandbox_status(sandbox))
    return container_of_status(name, *answers)


@with_answers
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_same_container_has_the_same_facts_on_each_runtime(runtime: str) -> None:
    """CRI-O reports nginx:latest in its status, another name of the same image."""
    found = facts(runtime)

    assert {key: getattr(found, key) for key in NGINX} == NGINX
    assert found.image_digest == "sha256:480db762abed330742e34c69e22adff4a319ced99e23562ea367c76e34e6be59"
    assert dict(found.pod_labels or ()).items() >= {"app": "web", "team": "payments"}.items()
    assert "io.kubernetes.pod.name" not in dict(found.pod_labels or ())
    assert found.start_ts is not None
    assert found.start_ts > 1_795_000_000_000_000_000
    assert (found.ip or "").startswith("10.244.0.")


@with_answers
def test_mounts_are_those_that_the_kubelet_requested() -> None:
    """The runtime's own, such as /proc, are in the bundle only."""
    mounts = facts("containerd 1.6").mounts or ()

    assert len(mounts) == 5
    assert Mount("/var/log", "/host/log", "", rw=False, propagation="private") in mounts


@with_answers
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_sandbox_is_its_pod(runtime: str) -> None:
    """Name, namespace, labels, address, and the image that holds its namespaces."""
    answer = recorded(f"{RUNTIMES[runtime][1]}.json")
    name = ContainerName("containerd", answer["status"]["id"])

    found = container_of_sandbox(name, StatusResponse(sandbox_status(answer)))

    assert found.name == found.pod_name == answer["status"]["metadata"]["name"]
    assert (found.pod_namespace, found.ip) == ("prod", answer["status"]["network"]["ip"])
    assert found.pod_sandbox_id == name.full_id
    assert found.image == "registry.k8s.io/pause:3.10"


def test_a_forgotten_sandbox_leaves_the_container_its_own_facts() -> None:
    """The runtime removes a pod's parts one after the other."""
    response = StatusResponse(encode([(1, encode([(2, encode([(1, "app")]))]))]))

    found = container_of_status(ContainerName("containerd", "a" * 64), response, None)

    assert (found.name, found.pod_labels, found.ip, found.start_ts) == ("app", None, None, None)


@pytest.mark.parametrize("info", [b"x" * (MAX_BYTES + 1), b"[" + b"1," * 1_000_000 + b"1]", None])
def test_a_specification_that_is_too_large_leaves_the_status(info: bytes | None) -> None:
    """The runtime's or the collector's limits leave it out; whether it is privileged isn't known then."""
    status = encode([(2, encode([(1, "app")])), (14, encode([(1, "/a"), (2, "/")]))])
    data = encode([(1, status), *([] if info is None else [(2, encode([(1, "info"), (2, info)]))])])
    response = StatusResponse(data, is_verbose=info is not None)

    found = container_of_status(ContainerName("containerd", "a" * 64), response, None)

    assert (found.name, found.privileged, found.is_truncated) == ("app", None, True)
    assert [mount.source for mount in found.mounts or ()] == ["/"]


def test_the_hosts_namespaces_are_recognized() -> None:
    """NamespaceMode NODE of network, pid and ipc."""
    options = encode([(1, 2), (2, 2), (3, 1)])
    sandbox = StatusResponse(encode([(1, encode([(6, encode([(1, encode([(2, options)]))]))]))]))

    found = container_of_status(ContainerName("containerd", "a" * 64), StatusResponse(b""), sandbox)

    assert (found.host_network, found.host_pid, found.host_ipc) == (True, True, False)


def test_name_and_version_of_a_runtime() -> None:
    """As doctor shows them."""
    assert runtime_version(encode([(1, "0.1.0"), (2, "containerd"), (3, "1.6.20")])) == "containerd 1.6.20"
