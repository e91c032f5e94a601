from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lanner.recorder.context import TimelineRange
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from lanner.recorder.tree.activity import activity_maker
from lanner.recorder.tree.family import Family, family
from lanner.recorder.tree.peers import HostReading, JoinedContext, joined_contexts, open_sockets
from processor.output.redaction import Redaction
from schemas.batch import EventBatch
from tests.unit.lanner.program import lanner
from tests.unit.lanner.recorder.hosts import FAR, NEAR, SECOND, alert_far, alert_near, ends, far, near
from tests.unit.lanner.recorder.tree.incident import MS, TIME, entries, process
from tests.unit.processor.batches import INIT, batch_of

WINDOW = TimelineRange(TIME - 60 * SECOND, TIME + 2 * MS, TIME + 60 * SECOND)


def kept(folder: Path, *batches: EventBatch) -> Path:
    """Return a recording of several hosts with the two alerts."""
    recording = RollingRecording(folder, 8 << 20, on_error=print)
    for batch in batches:
        recording.store(batch)
    for alert in (alert_near(), alert_far()):
        recording.store_alert(alert)
    recording.close()
    return folder


def tree_of(batch: EventBatch, trigger: int = 3) -> Family:
    """Return the tree of a batch."""
    return family(entries(batch, trigger), None, [])


def joined(folder: Path, *others: EventBatch, own: EventBatch | None = None) -> list[JoinedContext]:
    """Return the joins of the host on which the attack begins."""
    batch = near() if own is None else own
    write = partial(activity_maker, redaction=Redaction())
    reading = HostReading(RecordingStore(kept(folder, batch, *others)), write, 1000, lambda: False)
    return joined_contexts(tree_of(batch), "near", WINDOW, reading)


@pytest.mark.parametrize("peer", [NEAR, (f"::ffff:{NEAR[0]}", NEAR[1])])
def test_a_connection_leads_to_the_process_at_its_other_end(peer: tuple[str, int], tmp_path: Path) -> None:
    """On another host and in a container, with what its descendants did; also if a socket takes both kinds of IP."""
    (found,) = joined(tmp_path, far(peer))
    assert (found.join.hostname, found.join.number, str(found.join.socket)) == (
        "db-1",
        "500",
        "10.0.0.1:41234 -> 10.0.0.2:22",
    )
    tree = family(found.context.entries(), None, [alert_far()])
    assert [each.actor.name for each in tree.processes] == ["sshd", "bash", "cat"]
    assert tree.processes[0].steps[0].is_trigger
    assert [each.rule for each in tree.processes[2].steps[0].alerts] == ["Shadow was read"]


@pytest.mark.parametrize(
    "other",
    [far((NEAR[0], NEAR[1] + 1)), far(("10.9.0.1", NEAR[1])), far(FAR)],
    ids=["another port", "another address", "the same end"],
)
def test_other_connections_lead_nowhere(other: EventBatch, tmp_path: Path) -> None:
    """Both addresses and both ports must be mirrored."""
    assert joined(tmp_path, other) == []


def test_a_connection_much_later_is_another_one(tmp_path: Path) -> None:
    """Ports are used again."""
    late = far()
    for index, time in enumerate(late.columns["time"]):
        late.columns["time"][index] = time + 30 * SECOND  # type: ignore[index]
    assert joined(tmp_path, late) == []


def test_addresses_of_loopback_join_on_one_host_only(tmp_path: Path) -> None:
    """Every host has them."""
    here, there = ("127.0.0.1", 50000), ("127.0.0.1", 8080)

    def server(**host: Any) -> EventBatch:
        rows = [INIT, process(10, "nginx", 0)]
        accepted = {"type": "accept4", "process": 1, "time": TIME + 2 * MS, **ends(there, here)}
        return batch_of(accepted, processes=rows, first_number=900, sequence=8, **host)

    rows = [INIT, process(800, "sshd", 0), process(900, "bash", 1), process(901, "curl", 2)]
    client = batch_of(
        {"type": "connect", "process": 3, "time": TIME + MS, **ends(here, there)},
        processes=rows,
        host_id="near",
        hostname="web-1",
    )
    assert joined(tmp_path / "a", server(host_id="far", hostname="db-1"), own=client) == []
    (found,) = joined(tmp_path / "b", server(host_id="near", hostname="web-1"), own=client)
    assert (found.join.hostname, found.join.number) == ("web-1", "900")


def test_a_connection_within_the_tree_is_not_searched() -> None:
    """Both of its ends are drawn."""
    rows = [INIT, process(800, "sh", 0), process(900, "nc", 1), process(901, "nc", 1)]
    events = [
        {"type": "connect", "process": 2, "time": TIME, **ends(NEAR, FAR)},
        {"type": "accept", "process": 3, "time": TIME + MS, **ends(FAR, NEAR)},
    ]
    assert open_sockets(tree_of(batch_of(*events, processes=rows), 1)) == {}


def test_a_session_of_ssh_is_found_by_its_variable(tmp_path: Path) -> None:
    """It began long before what is shown, so that its connection is not among the events."""
    began = TIME - 3600 * SECOND
    session = process(900, "bash", 1, start_time=began, env=(f"SSH_CONNECTION={FAR[0]} 22 {NEAR[0]} 41234",))
    own = batch_of(
        {"type": "openat", "process": 2, "time": TIME + 2 * MS, "fd_name": "/etc/shadow"},
        processes=[INIT, process(800, "sshd", 0), session],
        host_id="near",
        hostname="web-1",
    )
    client = far()
    for index, _ in enumerate(client.columns["time"]):
        client.columns["time"][index] = began + index * MS  # type: ignore[index]
    (found,) = joined(tmp_path, replace(client, created=began), own=own)
    assert found.join.hostname == "db-1"
    assert found.context.timeline.window.alert == began
    timeline = found.context.timeline
    assert (len(found.context.entries()), timeline.other_events, len(timeline.others)) == (2, 1, 1)


def test_the_command_draws_the_other_host(tmp_path: Path) -> None:
    """`lanner context` ends with the tree of the process at the other end."""
    folder = kept(tmp_path / "kept", near(), far())
    done = lanner("context", alert_near().id, "--file", folder)
    assert done.returncode == 0, done.stderr
    at = done.stdout.index("On db-1, joined by 10.0.0.1:41234 -> 10.0.0.2:22:")
    assert "ssh(901)" in done.stdout[:at]
    assert "sshd(50) alice in container gate" in done.stdout[at:]
    assert "! Warning Shadow was read" in done.stdout[at:]
