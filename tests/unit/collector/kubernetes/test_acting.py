import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, cast

import pytest

from collector.actions.effect import ActionRefused, TargetGone
from collector.kubernetes.acting import ClusterActions, Held
from collector.kubernetes.api import ApiServer
from schemas.action import ActionIntent, ClusterActionType
from tests.unit.collector.kubernetes.stored_objects import NODE, POD, POD_UID, POLICIES, StoredObjects

ID = "01a21b55-2bbe-8d2a-9f0e-1c6f4a7d3b21"
ENDS = 1_800_000_000_000_000_000
LABELED = ActionIntent(
    *(ID, "label", "pod", "h", "host", "do", "pod shop/web-1", 1),
    lease=60,
    namespace="shop",
    pod="web-1",
    pod_uid=POD_UID,
)
ISOLATED = replace(LABELED, type="isolate")
EVICTED = replace(LABELED, type="evict", lease=0)
CORDONED = replace(LABELED, type="cordon", target="node", node="worker-1")


class Cluster:
    """A cluster, and what does actions in it."""

    def __init__(self) -> None:
        self.stored = StoredObjects()
        self.actions = ClusterActions(cast("ApiServer", self.stored), "lanner", ("spared-*",))

    def do(self, intent: ActionIntent) -> str:
        """Do an action."""
        return _run(self.actions.do(intent, ENDS))

    def held(self, type_: ClusterActionType) -> list[Held]:
        """Return what lasts."""
        return _run(self.actions.held(type_))

    def undo(self, type_: ClusterActionType) -> str:
        """Undo the only action of a type."""
        [held] = self.held(type_)
        assert (held.id, held.ends) == (ID, ENDS)
        return _run(self.actions.undo(held))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.fixture
def cluster() -> Cluster:
    """Return one with a pod and two nodes."""
    return Cluster()


@pytest.mark.parametrize("intent", [LABELED, ISOLATED, CORDONED], ids=lambda each: str(each.type))
def test_what_is_undone_is_as_before(cluster: Cluster, intent: ActionIntent) -> None:
    """All that undoing needs is found on the objects; doing it twice does it once."""
    before = {path: _without_version(each) for path, each in cluster.stored.objects.items()}
    cluster.do(intent)
    during = {path: _without_version(each) for path, each in cluster.stored.objects.items()}
    assert during != before
    cluster.do(intent)
    assert {path: _without_version(each) for path, each in cluster.stored.objects.items()} == during
    cluster.undo(cast("ClusterActionType", intent.type))
    assert {path: _without_version(each) for path, each in cluster.stored.objects.items()} == before
    assert cluster.held(cast("ClusterActionType", intent.type)) == []


def _without_version(item: dict[str, Any]) -> dict[str, Any]:
    about = {name: each for name, each in item["metadata"].items() if name != "resourceVersion"}
    return {name: each for name, each in (item | {"metadata": about}).items() if each} | {
        "metadata": {name: each for name, each in about.items() if each}
    }


def test_an_isolated_pod_is_selected_alone_and_allowed_nothing(cluster: Cluster) -> None:
    """By a label that no other pod has."""
    cluster.do(ISOLATED)
    policy = cluster.stored.objects[f"{POLICIES}/lanner-{ID}"]
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {"lanner-action/isolated": ID}},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert cluster.stored.objects[POD]["metadata"]["labels"] == {"app": "web", "lanner-action/isolated": ID}


@pytest.mark.parametrize(
    "selector", [{}, {"matchLabels": {"app": "web"}}, {"matchExpressions": [{"key": "app", "operator": "Exists"}]}]
)
def test_a_policy_that_allows_the_pod_traffic_is_named(cluster: Cluster, selector: dict[str, Any]) -> None:
    """Policies add up, so that isolating it would be a pretense; policies for other pods don't matter."""
    cluster.stored.put(f"{POLICIES}/open", uid="o")["spec"] = {"podSelector": selector, "ingress": [{}]}
    with pytest.raises(ActionRefused, match="allow the pod some traffic all the same: open"):
        cluster.do(ISOLATED)
    cluster.stored.put(f"{POLICIES}/open", uid="o")["spec"] = {
        "podSelector": {"matchLabels": {"app": "other"}},
        "ingress": [{}],
    }
    cluster.do(ISOLATED)


def test_another_pod_of_the_same_name_is_spared(cluster: Cluster) -> None:
    """The uid is checked on the object that is then changed."""
    cluster.stored.put(POD, uid="1b9c1a52-2bbe-4d2a-9f0e-1c6f4a7d3b21")
    for intent in (LABELED, ISOLATED, EVICTED):
        with pytest.raises(TargetGone, match="another pod has its name now"):
            cluster.do(intent)
    del cluster.stored.objects[POD]
    with pytest.raises(TargetGone, match="no longer exists"):
        cluster.do(EVICTED)


@pytest.mark.parametrize("namespace", ["kube-system", "lanner", "spared-1"])
def test_pods_that_are_needed_are_spared(cluster: Cluster, namespace: str) -> None:
    """Kubernetes' own, Lanner's own, and what the settings name."""
    with pytest.raises(ActionRefused, match="are spared in this cluster"):
        cluster.do(replace(EVICTED, namespace=namespace))


def test_nodes_that_are_needed_are_spared(cluster: Cluster) -> None:
    """Those of the control plane, the last one that takes pods, and one that somebody else cordoned."""
    node = cluster.stored.objects[NODE]
    node["metadata"]["labels"] = {"node-role.kubernetes.io/control-plane": ""}
    with pytest.raises(ActionRefused, match="control plane"):
        cluster.do(CORDONED)
    node["metadata"]["labels"] = {}
    node["spec"] = {"unschedulable": True}
    with pytest.raises(ActionRefused, match="somebody else"):
        cluster.do(CORDONED)
    node["spec"] = {}
    cluster.stored.objects["/api/v1/nodes/worker-2"]["spec"] = {"unschedulable": True}
    with pytest.raises(ActionRefused, match="the last node"):
        cluster.do(CORDONED)


def test_a_disruption_budget_is_respected(cluster: Cluster) -> None:
    """The eviction API refuses; nothing is deleted in another way."""
    cluster.stored.refuses = 429
    with pytest.raises(ActionRefused, match="PodDisruptionBudget"):
        cluster.do(EVICTED)
    cluster.do(EVICTED)
    assert cluster.stored.evicted == [POD]


def test_an_object_that_changes_in_between_is_checked_again(cluster: Cluster) -> None:
    """The request names the version that was checked, and is repeated with the new one."""
    cluster.stored.refuses = 409
    assert cluster.do(LABELED) == f"labeled lanner-action/labeled={ID}"


def test_an_action_on_the_same_object_is_not_taken_over(cluster: Cluster) -> None:
    """Its end is its own: extend that instead."""
    cluster.do(LABELED)
    with pytest.raises(ActionRefused, match=f"label of another action, {ID}"):
        cluster.do(replace(LABELED, id="02a21b55-2bbe-8d2a-9f0e-1c6f4a7d3b21"))
