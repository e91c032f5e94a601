from typing import Any

import pytest

from processor.compiler.batch import compile_rules
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.fields.extract import _reader_factory, condition_expression, extract
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


@pytest.mark.parametrize(
    ("parent", "line"),
    [
        (Process(pid=7, name="java", exe="/opt/jdk/bin/java", args=("-jar", "a b")), "/opt/jdk/bin/java -jar a b"),
        (Process(pid=7, name="bash", exe="-bash", args=()), "-bash"),
        (Process(pid=7, name="bash"), None),
    ],
)
def test_the_parents_line_starts_with_what_the_parent_was_called_by(parent: Process, line: str | None) -> None:
    """It is the parent's proc.exeline: argv[0] with its directory, not the name that the kernel has."""
    batch = batch_of({"type": "execve", "process": 1}, processes=[parent, Process(pid=8, name="sh", parent=0)])
    assert extract(batch, 0, "proc.pexeline") == line


def test_a_process_without_a_known_parent_has_no_parents_line() -> None:
    """The field is missing, not empty."""
    batch = batch_of({"type": "execve"}, processes=[Process(pid=8, name="sh")])
    assert extract(batch, 0, "proc.pexeline") is None


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["b", "a"], "a b"),
        ([" b ", "a "], "a   b "),
        (["b", ""], "b"),
        (["", "a"], "a "),
        ([None, "a"], "a"),
        ([""], None),
    ],
)
def test_all_ancestors_of_a_process_are_one_text(names: list[str | None], line: str | None) -> None:
    """Blanks in names stay, and the nearest ancestor comes first."""
    rows = [Process(pid=pid, name=name, parent=pid - 1) for pid, name in enumerate([*names, "own"])]
    batch = batch_of({"type": "openat", "process": len(names)}, processes=rows)

    assert extract(batch, 0, "proc.aname") == line


def test_a_variable_of_ancestors() -> None:
    """It is empty without ancestors, and missing if nothing is known of them."""
    rows = [
        Process(pid=0, parent=-1),
        Process(pid=1, parent=0),
        Process(pid=2, parent=1, env=("A=1",)),
        Process(pid=3, parent=2),
    ]
    values = [
        extract(batch_of({"type": "openat", "process": at}, processes=rows), 0, "proc.aenv[A]") for at in range(4)
    ]

    assert values == ["", None, None, "1"]


def test_the_ancestors_that_a_field_looks_at_are_limited() -> None:
    """A hostile batch may hold a line of all its processes, each with a text of a million characters."""
    texts = ("a" * 60_000,) * 17
    rows = [Process(pid=pid, name=f"p{pid}", args=texts, parent=pid - 1) for pid in range(5000)]
    batch = batch_of({"type": "openat", "process": 4999}, processes=rows)
    names, lines, pids = (
        _reader_factory(found.expression)(batch)(0)
        for field in ("proc.aname", "proc.acmdline", "proc.apid")
        if (found := condition_expression(field)) is not None
    )

    assert isinstance(names, tuple)
    assert (len(names), names[0], names[-1]) == (1024, "p4998", "p3975")
    assert isinstance(lines, tuple)
    assert 0 < sum(map(len, lines)) <= 4 << 20
    assert isinstance(pids, tuple)
    assert len(pids) == 1024
    assert len(str(extract(batch, 0, "proc.acmdline"))) <= 4 << 20
    assert str(extract(batch, 0, "proc.aname")).startswith("p4998 p4997 ")


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
