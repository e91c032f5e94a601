from dataclasses import replace

from collector.kubernetes.index import Reconciler
from collector.kubernetes.objects import KubernetesObject
from schemas.pod import decode_pod, encode_pod
from tests.unit.collector.kubernetes.test_index import ALL, NAMESPACE, POD, index_of


def written(reconciler: Reconciler, now: float, most: int) -> list[tuple[str, bytes | None]]:
    """Return what the reconciler plans to write, once all of it has arrived."""
    planned = reconciler.plan(now, most)
    for key, _ in planned:
        reconciler.arrived(key)
    return planned


def started(*objects: tuple[str, KubernetesObject], most_deleted: int = 100) -> Reconciler:
    """Return a reconciler whose records are written."""
    index = index_of(*objects)
    for key in list(index.keys()):
        index.mark_changed(key)
    reconciler = Reconciler(index, delay=300, most_deleted=most_deleted)
    reconciler.start()
    written(reconciler, 0, 1000)
    return reconciler


def test_a_record_is_written_when_it_changes() -> None:
    """Twice the same change is written once."""
    reconciler = started(*ALL)
    index = reconciler._index
    assert written(reconciler, 1, 10) == []
    index.put("namespaces", replace(NAMESPACE, labels=(("env", "a"),)))
    index.put("namespaces", replace(NAMESPACE, labels=(("env", "b"),)))
    ((key, value),) = written(reconciler, 2, 10)
    assert key == "p-1"
    assert decode_pod(value or b"").namespace_labels == (("env", "b"),)
    index.put("namespaces", replace(NAMESPACE, labels=(("env", "c"),)))
    index.put("namespaces", replace(NAMESPACE, labels=(("env", "b"),)))
    assert written(reconciler, 3, 10) == []


def test_a_restart_writes_only_what_the_topic_lacks() -> None:
    """What only the topic has was deleted in between, and ends after the delay."""
    index = index_of(*ALL, ("pods", replace(POD, uid="p-2", name="web-2")))
    reconciler = Reconciler(index, delay=300)
    for key in list(index.keys()):
        index.mark_changed(key)
    record = index.record("p-1")
    assert record is not None
    reconciler.found("p-1", encode_pod(record))
    reconciler.found("p-0", encode_pod(replace(record, uid="p-0")))
    reconciler.start()
    assert [key for key, _ in written(reconciler, 0, 10)] == ["p-2"]
    assert written(reconciler, 299, 10) == []
    assert written(reconciler, 300, 10) == [("p-0", None)]
    assert written(reconciler, 900, 10) == []


def test_a_deleted_pod_keeps_its_record_for_a_while() -> None:
    """Events come late; one that comes back is not deleted."""
    reconciler = started(*ALL)
    index = reconciler._index
    index.delete("pods", "p-1")
    assert written(reconciler, 10, 10) == []
    index.put("pods", POD)
    assert written(reconciler, 20, 10) == []
    assert written(reconciler, 900, 10) == []
    index.delete("pods", "p-1")
    assert written(reconciler, 1000, 10) == []
    assert written(reconciler, 1300, 10) == [("p-1", None)]
    assert len(reconciler) == 0


def test_a_message_that_did_not_arrive_is_written_again() -> None:
    """A record, and a deletion."""
    reconciler = started(*ALL)
    reconciler.failed("p-1")
    assert [key for key, _ in written(reconciler, 1, 10)] == ["p-1"]
    reconciler._index.delete("pods", "p-1")
    written(reconciler, 2, 10)
    assert written(reconciler, 400, 10) == [("p-1", None)]
    reconciler.failed("p-1")
    written(reconciler, 401, 10)
    assert written(reconciler, 800, 10) == [("p-1", None)]


def test_a_record_has_one_message_on_its_way() -> None:
    """What changes while it is on its way is written once it has arrived or failed, and so is a deletion."""
    reconciler = started(*ALL)
    index = reconciler._index
    reconciler.failed("p-1")
    assert [key for key, _ in reconciler.plan(1, 10)] == ["p-1"]
    index.put("namespaces", replace(NAMESPACE, labels=(("env", "a"),)))
    assert reconciler.plan(2, 10) == []
    reconciler.arrived("p-1")
    ((key, value),) = reconciler.plan(3, 10)
    assert (key, decode_pod(value or b"").namespace_labels) == ("p-1", (("env", "a"),))
    index.delete("pods", "p-1")
    reconciler.failed("p-1")
    assert reconciler.plan(4, 10) == []
    index.put("pods", POD)
    assert [key for key, _ in reconciler.plan(5, 10)] == ["p-1"]
    index.delete("pods", "p-1")
    assert reconciler.plan(6, 10) == []
    reconciler.arrived("p-1")
    assert reconciler.plan(7, 10) == []
    assert reconciler.plan(307, 10) == [("p-1", None)]


def test_a_late_message_of_a_former_leader_is_overwritten() -> None:
    """One that equals the current record is not."""
    reconciler = started(*ALL)
    record = reconciler._index.record("p-1")
    assert record is not None
    reconciler.found("p-1", encode_pod(record))
    assert written(reconciler, 1, 10) == []
    reconciler.found("p-1", encode_pod(replace(record, labels=())))
    assert written(reconciler, 2, 10) == [("p-1", encode_pod(record))]
    reconciler.found("p-1", None)
    assert written(reconciler, 3, 10) == [("p-1", encode_pod(record))]


def test_the_number_of_records_that_stay_is_bounded() -> None:
    """The oldest ones end early."""
    pods = [("pods", replace(POD, uid=f"p-{n}")) for n in range(20)]
    reconciler = started(*pods, most_deleted=5)
    for n in range(20):
        reconciler._index.delete("pods", f"p-{n}")
    assert written(reconciler, 1, 100) == [(f"p-{n}", None) for n in range(15)]


def test_a_pod_whose_name_is_out_of_range_is_counted() -> None:
    """It stops no other record."""
    reconciler = started(("pods", POD), ("pods", replace(POD, uid="p-2", name="x" * 600)))
    assert reconciler.refused == 1
    assert len(reconciler) == 1
