"""`lanner kubernetes` on a real broker, with an API server over HTTP."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bus.clients.compacted import CompactedTopicWriter, read_topics
from bus.connection import Connection
from bus.messages import Headers
from bus.topics import PODS
from schemas.batch import Container
from schemas.pod import Pod, decode_pod, encode_pod
from tests.cluster.actions import Alerts, Generator, Host, rules_file
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.cluster.processes import Processes, Running
from tests.kubernetes_api import TOKEN, KubernetesApi, deployment_with_pods, thing

RULES = """
- rule: Marked action
  desc: An action of the generator in a pod of one deployment.
  condition: evt.type = openat and fd.name startswith /marked/ and k8s.deployment.name = web
  output: >
    %k8s.deployment.name %k8s.rs.name %k8s.svc.name %k8s.ns.label[env] %k8s.serviceaccount.name %k8s.pod.name
  priority: NOTICE
"""


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    """Provide an API server with a namespace, two services and a deployment of three pods."""
    with KubernetesApi() as made:
        made.put(thing("Namespace", "prod", "ns-1", labels={"env": "production"}))
        made.put(thing("Service", "shop", "svc-1", "prod", spec={"selector": {"app": "web"}}))
        made.put(thing("Service", "other", "svc-2", "prod", spec={"selector": {"app": "db"}}))
        made.put(*deployment_with_pods("web", 3))
        yield made


def start(connection: Connection, processes: Processes, api: KubernetesApi, folder: Path, *more: str) -> Running:
    """Start the service."""
    options = ("-o", f"kubernetes.kubeconfig={api.kubeconfig(folder)}", "-o", "kubernetes.page_size=2", *more)
    return processes.start(connection, "kubernetes", *options)


def records(connection: Connection) -> dict[str, Pod]:
    """Return what the topic holds, by key."""
    found = read_topics(connection, [PODS])[PODS]
    return {key.decode(): decode_pod(message.value() or b"") for key, message in found.items()}


def wait_for(connection: Connection, is_right: Callable[[dict[str, Pod]], bool], timeout: float = 30) -> dict[str, Pod]:
    """Wait until the topic's records are right; return them."""
    deadline = time.monotonic() + timeout
    while not is_right(found := records(connection)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_an_alert_names_the_deployment_and_the_services_of_its_pod(
    connection: Connection, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """A processor joins the record of the pod before it evaluates, so that conditions and outputs have its fields."""
    start(connection, processes, api, tmp_path)
    wait_for(connection, lambda found: len(found) == 3)
    processor = processes.start(connection, "processor", rules=rules_file(tmp_path, RULES))
    processor.wait_for("evaluating rules:")
    generator, host = Generator(connection), Host("worker-1")
    for uid in ("pod-web-1", "pod-of-nobody"):
        batch = host.batch("x")
        batch.containers = [Container("3d09256ebd53", "3d09256ebd53" * 5, "containerd", pod_uid=uid)]
        batch.processes = [replace(each, container=0) for each in batch.processes]
        generator.publish(batch)
    generator.flush()
    alerts = Alerts(connection)
    alerts.wait_for(1, 30)
    (alert,) = alerts.raw
    alerts.close()
    assert alert.output.startswith("web web-59f shop production web web-59f-1")
    assert alert.event["k8s.deployment.name"] == "web"
    assert alert.event["k8s.pod.name"] == "web-59f-1"


def test_nothing_secret_is_in_the_topic_or_the_log(
    connection: Connection, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """Environment, annotations and the token of the service appear nowhere."""
    service = start(connection, processes, api, tmp_path, "-v")
    wait_for(connection, lambda found: len(found) == 3)
    values = [message.value() or b"" for message in read_topics(connection, [PODS])[PODS].values()]
    assert service.stop() == 0
    for text in (*map(bytes.decode, values), service.output, service.errors):
        assert not any(secret in text for secret in (TOKEN, "env-s3cr3t", "last-applied"))
    assert json.loads(values[0])["namespace"] == "prod"


def test_the_record_of_a_deleted_pod_stays_for_a_while(
    connection: Connection, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """It is deleted after the configured delay, also if the service was not running when the pod was deleted."""
    service = start(connection, processes, api, tmp_path, "-o", "kubernetes.deletion_delay_seconds=2")
    wait_for(connection, lambda found: len(found) == 3)
    api.delete("Pod", "pod-web-0")
    began = time.monotonic()
    wait_for(connection, lambda found: len(found) == 2)
    assert time.monotonic() - began > 1.5
    assert service.stop() == 0
    api.delete("Pod", "pod-web-1")
    start(connection, processes, api, tmp_path, "-o", "kubernetes.deletion_delay_seconds=2")
    wait_for(connection, lambda found: list(found) == ["pod-web-2"])


def test_another_process_takes_over_without_writing_again(
    connection: Connection, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """The second one waits, leads once the first has stopped, and writes only what changed."""
    first = start(connection, processes, api, tmp_path)
    first.wait_for("leading")
    wait_for(connection, lambda found: len(found) == 3)
    second = start(connection, processes, api, tmp_path)
    time.sleep(3)
    assert "leading" not in second.errors
    assert first.stop() == 0
    second.wait_for("leading", timeout=8)
    api.put(thing("Namespace", "prod", "ns-1", labels={"env": "staging"}))
    wait_for(connection, lambda found: all(pod.namespace_labels == (("env", "staging"),) for pod in found.values()))
    assert second.stop() == 0
    assert "3 records of pods written" in first.errors
    assert "3 records of pods written" in second.errors


def test_a_broker_that_is_away_delays_records_and_loses_none(
    own_broker: Broker, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """Changes during an outage are written once it ends: the newest state of each pod."""
    connection = with_topics(own_broker, 1)
    service = start(connection, processes, api, tmp_path)
    wait_for(connection, lambda found: len(found) == 3)
    own_broker.stop()
    for round_ in range(5):
        api.put(thing("Namespace", "prod", "ns-1", labels={"env": f"round-{round_}"}))
        time.sleep(0.5)
    own_broker.start()
    wait_for(connection, lambda found: all(pod.namespace_labels == (("env", "round-4"),) for pod in found.values()), 60)
    assert service.is_alive


def test_services_of_two_clusters_share_a_topic(
    connection: Connection, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """Each writes and deletes only the records of its own cluster, also after a restart."""
    soon = ("-o", "kubernetes.deletion_delay_seconds=1")
    (tmp_path / "east").mkdir()
    with KubernetesApi() as other:
        other.put(*deployment_with_pods("db", 2))
        start(connection, processes, other, tmp_path / "east", *soon, "-o", "cluster_name=east")
        west = start(connection, processes, api, tmp_path, *soon, "-o", "cluster_name=west")
        found = wait_for(connection, lambda found: len(found) == 5)
        assert {uid.split("-")[1]: pod.cluster for uid, pod in found.items()} == {"web": "west", "db": "east"}
        assert west.stop() == 0
        api.delete("Pod", "pod-web-0")
        start(connection, processes, api, tmp_path, *soon, "-o", "cluster_name=west")
        assert set(wait_for(connection, lambda found: len(found) < 5)) == {
            *("pod-web-1", "pod-web-2"),
            *("pod-db-0", "pod-db-1"),
        }


def test_what_a_former_leader_wrote_late_is_overwritten(
    connection: Connection, processes: Processes, api: KubernetesApi, tmp_path: Path
) -> None:
    """A record of the past, a deletion, and a record of a pod that is gone."""
    start(connection, processes, api, tmp_path, "-o", "kubernetes.deletion_delay_seconds=1")
    before = wait_for(connection, lambda found: len(found) == 3)
    writer = CompactedTopicWriter(connection)
    headers: Headers = [("lanner_writer", b"former"), ("lanner_cluster", b"")]
    writer.put(PODS, b"pod-web-0", encode_pod(replace(before["pod-web-0"], node="elsewhere")), headers)
    writer.put(PODS, b"pod-web-1", None, headers)
    writer.put(PODS, b"pod-gone", encode_pod(replace(before["pod-web-0"], uid="pod-gone")), headers)
    time.sleep(0.5)
    wait_for(connection, lambda found: found == before)
