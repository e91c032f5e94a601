from dataclasses import replace

import pytest

from collector.kubernetes.index import ClusterIndex
from collector.kubernetes.objects import RESOURCES, KubernetesObject, Owner
from schemas.pod import PodObject

NAMESPACE = KubernetesObject("ns-1", "prod", labels=(("env", "production"),))
DEPLOYMENT = KubernetesObject("d-1", "web", "prod", labels=(("team", "shop"),))
RS = KubernetesObject("rs-1", "web-59f", "prod", owner=Owner("Deployment", "web", "d-1"))
POD = KubernetesObject(
    "p-1",
    "web-59f-1",
    "prod",
    labels=(("app", "web"), ("tier", "front")),
    owner=Owner("ReplicaSet", "web-59f", "rs-1"),
    node="worker-1",
    service_account="web",
)
SERVICE = KubernetesObject("svc-1", "shop", "prod", selector=(("app", "web"),))
ALL = (
    ("namespaces", NAMESPACE),
    ("deployments", DEPLOYMENT),
    ("replicasets", RS),
    ("services", SERVICE),
    ("pods", POD),
)


def index_of(*objects: tuple[str, KubernetesObject]) -> ClusterIndex:
    """Return an index of these objects; nothing has changed since."""
    index = ClusterIndex()
    for name in RESOURCES:
        index.replace(name, [item for resource, item in objects if resource == name])
    index.take_changed(1000)
    return index


@pytest.mark.parametrize("order", [ALL, ALL[::-1], ALL[2:] + ALL[:2]])
def test_a_record_has_owners_namespace_and_services(order: tuple[tuple[str, KubernetesObject], ...]) -> None:
    """In whatever order the objects came."""
    index = ClusterIndex()
    for resource, item in order:
        index.put(resource, item)
    record = index.record("p-1")
    assert record is not None
    assert record.owners == (
        PodObject("ReplicaSet", "web-59f", "rs-1", ()),
        PodObject("Deployment", "web", "d-1", (("team", "shop"),)),
    )
    assert (record.namespace_uid, record.namespace_labels) == ("ns-1", (("env", "production"),))
    assert record.services == (PodObject("Service", "shop", "svc-1", ()),)
    assert (record.node, record.service_account, record.is_shortened) == ("worker-1", "web", False)
    assert "p-1" in index.take_changed(10)


@pytest.mark.parametrize(
    ("resource", "item", "is_changed"),
    [
        ("pods", POD, False),
        ("pods", replace(POD, labels=()), True),
        ("namespaces", replace(NAMESPACE, labels=()), True),
        ("namespaces", KubernetesObject("ns-2", "test"), False),
        ("deployments", replace(DEPLOYMENT, labels=()), True),
        ("deployments", KubernetesObject("d-2", "other", "prod"), False),
        ("replicasets", replace(RS, owner=None), True),
        ("services", replace(SERVICE, selector=(("app", "db"),)), True),
        ("services", KubernetesObject("svc-2", "front", "prod", selector=(("tier", "front"),)), True),
        ("services", KubernetesObject("svc-3", "headless", "prod"), False),
        ("services", KubernetesObject("svc-4", "shop", "test", selector=(("app", "web"),)), False),
    ],
)
def test_a_change_concerns_the_pods_whose_records_it_changes(
    resource: str, item: KubernetesObject, *, is_changed: bool
) -> None:
    """Statuses change all the time, and aren't part of records."""
    index = index_of(*ALL)
    index.put(resource, item)
    assert index.take_changed(10) == (["p-1"] if is_changed else [])


def test_a_list_deletes_what_it_lacks() -> None:
    """After 410 Gone, nobody reports what was deleted in between."""
    index = index_of(*ALL, ("pods", replace(POD, uid="p-2")))
    index.replace("pods", [POD])
    assert index.take_changed(10) == ["p-2"]
    assert index.record("p-2") is None
    assert list(index.keys()) == ["p-1"]


def test_owners_that_are_deleted_before_their_pods_keep_their_names() -> None:
    """The garbage collector deletes a deployment, then its replica set, then the pods."""
    index = index_of(*ALL)
    before = index.record("p-1")
    index.delete("deployments", "d-1")
    index.delete("replicasets", "rs-1")
    index.delete("namespaces", "ns-1")
    assert index.record("p-1") == before
    index.delete("pods", "p-1")
    assert not index._owners
    assert not index._owned
    assert not index._gone
    assert not index._namespaces
    assert not index._pods_in


def test_a_namespace_of_the_same_name_replaces_the_former_one() -> None:
    """Its uid and labels are other ones."""
    index = index_of(*ALL)
    index.put("namespaces", KubernetesObject("ns-9", "prod"))
    index.delete("namespaces", "ns-1")
    record = index.record("p-1")
    assert record is not None
    assert (record.namespace_uid, record.namespace_labels) == ("ns-9", ())


def test_a_pod_that_claims_the_uid_of_a_static_pod_does_not_replace_it() -> None:
    """Anyone who may create pods can write the annotation of a mirror."""
    static = replace(POD, uid="m-1", name="etcd", static_uid="ab" * 16)
    index = index_of(("pods", static))
    index.put("pods", replace(static, uid="m-2", name="fake"))
    record = index.record("ab" * 16)
    assert record is not None
    assert record.name == "etcd"
    index.delete("pods", "m-1")
    successor = index.record("ab" * 16)
    assert successor is not None
    assert successor.name == "fake"
    index.put("pods", static)
    index.delete("pods", "m-2")
    assert index.record("ab" * 16) == record


def test_owners_in_a_circle_end() -> None:
    """Users can write any reference."""
    first = KubernetesObject("rs-1", "a", "prod", owner=Owner("ReplicaSet", "b", "rs-2"))
    second = KubernetesObject("rs-2", "b", "prod", owner=Owner("ReplicaSet", "a", "rs-1"))
    index = index_of(("replicasets", first), ("replicasets", second), ("pods", POD))
    record = index.record("p-1")
    assert record is not None
    assert len(record.owners) == 4
    index.put("replicasets", replace(second, labels=(("a", "b"),)))
    assert index.take_changed(10) == ["p-1"]


def test_it_is_complete_when_every_resource_was_listed() -> None:
    """Records without services would be written, and then again."""
    index = ClusterIndex()
    for name in RESOURCES:
        assert not index.is_complete
        index.replace(name, [])
    assert index.is_complete
