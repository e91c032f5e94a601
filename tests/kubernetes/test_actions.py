"""Actions at a real API server, with no rights but those that the chart gives for them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bus.actions import action_message
from bus.connection import Connection
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_RESULTS, PODS
from collector.actions.effect import ActionRefused, TargetGone
from collector.kubernetes.acting import ClusterActions, Held
from collector.kubernetes.api import ApiServer as Client
from collector.kubernetes.api import RequestFailed, credentials
from lanner.settings import Settings
from lanner.wiring.stages.kubernetes import kubernetes_service
from schemas.action import ActionIntent
from tests.deploy.test_helm import VERSIONS, of_kind, template
from tests.kubernetes.programs import NoKubernetes, programs
from tests.kubernetes.test_audit import ApiServer
from tests.live.needs import lacking
from tests.unit.collector.kubernetes.stored_objects import NODE, POD, POLICIES
from tests.unit.collector.kubernetes.test_acting import CORDONED, ENDS, EVICTED, ID, ISOLATED, LABELED
from tests.unit.lanner.actions.test_cluster import CORDON, SECOND

pytestmark = pytest.mark.timeout(3600)

BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "lanner"},
    "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}],
}
WEB = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "worker-1", "containers": [{"name": "c", "image": "busybox"}]},
    }
]
NODES = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("worker-1", "worker-2")]
RUNNING = json.dumps({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
READY = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "r", "message": "m"}]}})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Provide an API server with a pod and two nodes."""
    try:
        programs(is_node=False)
    except NoKubernetes as missing:
        lacking(str(missing))
    made = ApiServer(tmp_path_factory.mktemp("api"), [])
    try:
        made.wait()
        options = ("--set", "kubernetes.actions.enabled={label,isolate,cordon,evict}")
        every = template("keda", VERSIONS[-1], *options, "--set", "kubernetes.actions.secret=keys")
        (role,) = of_kind("ClusterRole", every).values()
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["metadata"]["name"]}
        assert made.kubectl("create", "namespace", "shop") == 0
        for each in (role, BINDING | {"roleRef": reference}, *WEB, *NODES):
            assert made.kubectl("create", "-f", "-", given=json.dumps(each)) == 0, each
        for each in NODES:
            name = each["metadata"]["name"]  # type: ignore[index]
            assert made.kubectl("patch", "node", name, "--subresource=status", "--patch", READY) == 0
        yield made
    finally:
        made.stop()


class Cluster:
    """The server by two users: the administrator, and one that has the rights of the chart."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server, self._folder = server, folder

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Call a method of what does actions, with the rights of the chart."""
        return asyncio.run(
            self._call("alice", lambda client: getattr(ClusterActions(client, "lanner"), name)(*arguments))
        )

    def get(self, path: str) -> dict[str, Any]:
        """Return an object, as the administrator."""
        found: dict[str, Any] = asyncio.run(self._call("admin", lambda client: client.get(path)))
        return found

    async def _call(self, user: str, use: Any) -> Any:
        client = Client(credentials(str(self.kubeconfig(user))))
        try:
            return await use(client)
        finally:
            await client.close()

    def kubeconfig(self, user: str) -> Path:
        """Write a kubeconfig for a user; return its path."""
        path = self._folder / f"{user}.json"
        cluster = {"server": self.server.address, "insecure-skip-tls-verify": True}
        context = {"cluster": "k", "user": "u"}
        config = {
            "current-context": "c",
            "clusters": [{"name": "k", "cluster": cluster}],
            "contexts": [{"name": "c", "context": context}],
            "users": [{"name": "u", "user": {"token": user}}],
        }
        path.write_text(json.dumps(config))
        return path

    def intent(self, of: ActionIntent) -> ActionIntent:
        """Return an intent for the pod that exists."""
        return replace(of, pod_uid=self.get(POD)["metadata"]["uid"])

    def held(self, of: ActionIntent) -> Held:
        """Return the only action of a type that lasts."""
        [found] = self("held", of.type)
        assert (found.id, found.ends) == (ID, ENDS)
        return found


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Cluster:
    """Provide the server to both users."""
    return Cluster(server, tmp_path)


def labels(item: dict[str, Any]) -> dict[str, str]:
    """Return the labels and annotations of an object that Lanner made."""
    about = item["metadata"]
    found = (about.get("labels") or {}) | (about.get("annotations") or {})
    return {name: value for name, value in found.items() if name.startswith("lanner-action/")}


def test_a_pod_is_labeled_and_isolated_for_a_while(cluster: Cluster) -> None:
    """All that is left afterwards is what was there before."""
    for of in (LABELED, ISOLATED):
        intent = cluster.intent(of)
        cluster("do", intent, ENDS)
        cluster("do", intent, ENDS)
        assert ID in labels(cluster.get(POD)).values()
        cluster("extend", cluster.held(of), ENDS + 10**9)
        assert cluster("held", of.type)[0].ends == ENDS + 10**9
        if of is ISOLATED:
            policy = cluster.get(f"{POLICIES}/lanner-{ID}")["spec"]
            assert policy["podSelector"] == {"matchLabels": {"lanner-action/isolated": ID}}
            assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        cluster("undo", cluster("held", of.type)[0])
        assert labels(cluster.get(POD)) == {}
        assert cluster("held", of.type) == []


def test_a_node_is_cordoned_unless_it_is_the_last(cluster: Cluster) -> None:
    """By its status and its labels, as the API server has them."""
    cluster("do", CORDONED, ENDS)
    assert cluster.get(NODE)["spec"]["unschedulable"] is True
    with pytest.raises(ActionRefused, match="the last node"):
        cluster("do", replace(CORDONED, node="worker-2"), ENDS)
    cluster("undo", cluster.held(CORDONED))
    assert not cluster.get(NODE)["spec"].get("unschedulable")
    assert labels(cluster.get(NODE)) == {}


def test_only_the_version_that_was_read_is_changed(cluster: Cluster) -> None:
    """Somebody else changed it in between; the next attempt reads it again."""
    cluster("do", cluster.intent(LABELED), ENDS)
    held = cluster.held(LABELED)
    assert cluster.server.kubectl("--namespace", "shop", "label", "pod", "web-1", "other=x") == 0
    with pytest.raises(RequestFailed, match="409"):
        cluster("undo", held)
    cluster("undo", cluster.held(LABELED))


def test_a_successor_ends_what_the_elected_process_began(cluster: Cluster, tmp_path: Path) -> None:
    """By the object alone, after the first process is gone; the broker is the one that the client library simulates."""
    simulated = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = simulated.list_topics(timeout=20).brokers.values()
    connection = Connection(bootstrap_servers=f"{broker.host}:{broker.port}", prefix="t.")
    processor = Ed25519PrivateKey.generate()
    own, public = tmp_path / "own.pem", tmp_path / "processor.pub"
    own.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    own.chmod(0o600)
    public.write_bytes(processor.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    _, value, headers = action_message(replace(CORDON, lease=3 * SECOND), processor)
    simulated.produce(f"t.{ACTION_INTENTS}", value, CORDON.id.encode(), partition=0, headers=headers)
    for topic in (PODS, ACTION_DECISIONS, ACTION_RESULTS):
        simulated.produce(f"t.{topic}", b"another", partition=0)
    assert simulated.flush(20) == 0
    kubernetes = Settings().kubernetes
    enabled = replace(kubernetes.actions, enabled=("cordon",), key_file=str(own), processor_key_files=(str(public),))
    made = replace(kubernetes, kubeconfig=str(cluster.kubeconfig("admin")), lease_namespace="shop", actions=enabled)
    settings = Settings(kubernetes=made, cluster_name="c")

    async def serve_until(outcome: str) -> None:
        seen = asyncio.Event()

        def note(text: str, _: object = "info") -> None:
            if f": {outcome}: " in text:
                seen.set()

        running = asyncio.create_task(kubernetes_service(settings, connection, note).run())
        try:
            async with asyncio.timeout(60):
                await seen.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(serve_until("done"))
    assert cluster.get(NODE)["spec"]["unschedulable"] is True
    asyncio.run(serve_until("ended"))
    assert not cluster.get(NODE)["spec"].get("unschedulable")


def test_an_eviction_respects_the_budget_and_the_uid(cluster: Cluster) -> None:
    """The last test, because the pod ends."""
    with pytest.raises(TargetGone, match="another pod has its name now"):
        cluster("do", EVICTED, 0)
    intent = cluster.intent(EVICTED)
    running = ("patch", "pod", "web-1", "--subresource=status", "--patch", RUNNING)
    assert cluster.server.kubectl("--namespace", "shop", *running) == 0
    assert cluster.server.kubectl("create", "-f", "-", given=json.dumps(BUDGET)) == 0
    with pytest.raises(ActionRefused, match="PodDisruptionBudget"):
        cluster("do", intent, 0)
    assert cluster.server.kubectl("--namespace", "shop", "delete", "poddisruptionbudget", "web") == 0
    cluster("do", intent, 0)
    assert cluster.get(POD)["metadata"]["deletionTimestamp"]
