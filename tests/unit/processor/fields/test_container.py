from typing import Any

import pytest

from processor.compiler.batch import compile_rules
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.fields.extract import extract
from processor.language.parser import parse
from schemas.batch import Container, EventBatch, Process
from schemas.pod import Pod, PodObject
from tests.unit.processor.batches import batch_of
from tests.unit.schemas.test_pod import POD

BOTH = Pod(
    "u-1",
    "web",
    "prod",
    owners=(PodObject("Job", "backup-1", "j-1"), PodObject("CronJob", "backup", "c-1")),
    services=(PodObject("Service", "a", "s-1", (("x", "1"),)), PodObject("Service", "b", "s-2", (("x", "2"),))),
)


def batch(pod: Pod | None, *, container: int = 0) -> EventBatch:
    """Return a batch of one event in a container of a pod."""
    row = Container("3d09256ebd53", "3d09256ebd53" * 5, "containerd", pod_uid="u-1", pod=pod)
    return batch_of({"type": "open"}, processes=[Process(pid=1, container=container)], containers=[row])


@pytest.mark.parametrize(
    ("pod", "field", "value"),
    [
        (POD, "k8s.deployment.name", "web"),
        (POD, "k8s.deployment.id", "d-1"),
        (POD, "k8s.deployment.label[team]", "shop"),
        (POD, "k8s.deployment.labels", "team:shop"),
        (POD, "k8s.rs.name", "web-59f"),
        (POD, "k8s.rs.label[team]", None),
        (POD, "k8s.rc.name", None),
        (POD, "k8s.ns.id", "ns-1"),
        (POD, "k8s.ns.label[env]", "production"),
        (POD, "k8s.ns.labels", "env:production"),
        (POD, "k8s.owner.kind", "Deployment"),
        (POD, "k8s.owner.name", "web"),
        (POD, "k8s.serviceaccount.name", "web"),
        (POD, "k8s.node.name", "worker-1"),
        (BOTH, "k8s.owner.kind", "CronJob"),
        (BOTH, "k8s.svc.name", "a, b"),
        (BOTH, "k8s.svc.id", "s-1, s-2"),
        (BOTH, "k8s.svc.label[x]", "1, 2"),
        (BOTH, "k8s.svc.labels", "x:1, x:2"),
        (BOTH, "k8s.deployment.name", None),
        (BOTH, "k8s.ns.labels", None),
        (BOTH, "k8s.node.name", None),
        (None, "k8s.svc.name", None),
        (None, "k8s.owner.name", None),
    ],
)
def test_fields_of_a_record(pod: Pod | None, field: str, value: Any) -> None:
    """What the record lacks is missing."""
    assert extract(batch(pod), 0, field) == value


def test_a_process_of_the_host_has_none() -> None:
    """It is in no pod."""
    assert extract(batch(POD, container=-1), 0, "k8s.deployment.name") is None


@pytest.mark.parametrize(
    ("condition", "is_true"),
    [
        ("k8s.svc.name = b", True),
        ("k8s.svc.name in (x, a)", True),
        ("k8s.svc.name = c", False),
        ('k8s.svc.name = "a, b"', False),
        ("k8s.svc.label[x] = 2", True),
        ("k8s.svc.name exists", True),
        ("k8s.rs.name exists", False),
        ("k8s.owner.kind = CronJob and k8s.owner.name startswith back", True),
    ],
)
def test_conditions_on_a_record(condition: str, *, is_true: bool) -> None:
    """A condition on services is true if one of them fits."""
    compiled = compile_rules([parse(condition)])
    found = list(BatchView(batch(BOTH)).hits(compiled, lambda *_: None, Budget(BOUNDLESS)))
    assert bool(found) == is_true
