from dataclasses import replace

from processor.hosts.arrival import PodRecords
from schemas.batch import Container
from schemas.pod import Pod, encode_pod
from tests.unit.processor.batches import batch_of
from tests.unit.schemas.test_pod import POD

WEB = Container("3d09256ebd53", "3d09256ebd53" * 5, "containerd", pod_uid="u-1")


def records(*pods: Pod, most: int = 10, most_bytes: int = 10_000) -> PodRecords:
    """Return the records of pods."""
    found = PodRecords(most=most, most_bytes=most_bytes)
    for pod in pods:
        found.put(pod.uid.encode(), encode_pod(pod))
    return found


def test_a_container_gets_the_record_of_its_pod() -> None:
    """It fills in what the runtime lacks, and changes nothing else."""
    batch = batch_of({"type": "open"}, containers=[WEB, replace(WEB, pod_name="mine", pod_labels=(("a", "b"),))])
    found = records(POD)
    first, second = found.join(batch).containers
    assert (first.pod, first.pod_name, first.pod_namespace, first.pod_labels) == (POD, "web-59f-1", "prod", POD.labels)
    assert (second.pod, second.pod_name, second.pod_labels) == (POD, "mine", (("a", "b"),))
    assert found.lookups == {"found": 2}


def test_containers_without_a_record_are_counted() -> None:
    """Only those that are in a pod."""
    batch = batch_of({"type": "open"}, containers=[replace(WEB, pod_uid="u-2"), replace(WEB, pod_uid=None)])
    found = records(POD)
    assert [each.pod for each in found.join(batch).containers] == [None, None]
    assert found.lookups == {"unknown": 1}


def test_the_newest_record_counts_and_a_deleted_one_does_not() -> None:
    """Also if it was used before."""
    found = records(POD)
    assert found.get("u-1") == POD
    found.put(b"u-1", encode_pod(replace(POD, node="worker-2")))
    assert found.get("u-1") == replace(POD, node="worker-2")
    found.put(b"u-1", None)
    assert found.get("u-1") is None
    assert len(found) == 0


def test_memory_is_bounded() -> None:
    """By number and by bytes; known pods are still updated."""
    found = records(*(replace(POD, uid=f"u-{n}") for n in range(20)), most=5)
    assert (len(found), found.dropped) == (5, 15)
    found.put(b"u-1", encode_pod(replace(POD, node="worker-2")))
    changed = found.get("u-1")
    assert changed is not None
    assert changed.node == "worker-2"
    assert len(records(*(replace(POD, uid=f"u-{n}") for n in range(20)), most=100, most_bytes=1000)) == 2


def test_what_is_not_a_record_is_refused() -> None:
    """Also one under another pod's key."""
    found = records(POD)
    found.put(b"u-1", b"{}")
    found.put(b"u-9", encode_pod(POD))
    found.put(b"\xff", b"x")
    assert (len(found), found.refused) == (1, 3)
