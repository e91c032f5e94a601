from lanner.recorder.tree.family import Family, family
from schemas.batch import Container
from tests.unit.lanner.recorder.tree.incident import MS, TIME, entries, incident, of_event, process
from tests.unit.processor.batches import INIT, batch_of


def test_descendants_follow_their_parent() -> None:
    """Each process names its parent by place, with its start, its end and the alerts of its steps."""
    batch = incident()
    this, other = of_event(batch, 5, id="this"), of_event(batch, 2, id="other")
    found = family(entries(batch), this, [other, this])
    assert [(each.actor.name, each.parent) for each in found.processes] == [
        *(("bash", -1), ("curl", 0), ("cat", 0), ("cp", 0))
    ]
    assert [each.name for each in found.leading] == ["systemd", "sshd"]
    _, curl, cat, _ = found.processes
    assert (curl.started, curl.end and curl.end.target) == (TIME, "0")
    assert [
        (step.step.target, step.is_trigger, [each.id for each in step.alerts]) for step in (*curl.steps, *cat.steps)
    ] == [("198.51.100.7:80", False, ["other"]), ("/etc/shadow", True, ["this"])]


def test_a_container_is_entered_by_its_first_process() -> None:
    """Its descendants are in it, too."""
    container = Container(id="0123456789ab", full_id="0" * 64, type="docker", name="web")
    rows = [INIT, process(10, "shim", 0), process(11, "sh", 1, container=0), process(12, "cat", 2, container=0)]
    batch = batch_of({"type": "openat", "process": 3, "time": TIME + MS}, processes=rows, containers=[container])
    found = family(entries(batch, 1), None, [])
    assert [(each.actor.name, each.enters_container) for each in found.processes] == [("sh", True), ("cat", False)]


def test_no_events_have_no_family() -> None:
    """As when nothing of this time is stored."""
    assert family([], None, []) == Family()
