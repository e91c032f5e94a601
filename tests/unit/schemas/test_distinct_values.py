"""What a summary lists: a few values of each field, of which decoys push out none that is elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Repeats
from schemas.distinct_values import (
    ANY,
    MOST_VALUES,
    decode_values,
    differing,
    encode_values,
    may_differ,
    merged,
    note,
    text_of,
    values_in,
    without,
)
from tests.unit.alerts import alert

SUMMARY = Repeats("id", 3, 1, 2, 3)


def listed(*names: str, field: str = "fd.name") -> dict[str, int]:
    """Return what is listed of values that came one after the other."""
    values: dict[str, dict[str, int]] = {}
    for name in names:
        note(values, values_in({field: name}, 1))
    return dict(merged({}, values)[field])


DECOYS = {
    "in one folder": [f"/tmp/{n}" for n in range(500)],
    "in folders of their own": [f"/tmp/{n}/.ssh/id_rsa" for n in range(500)],
    "deeper": [f"/tmp/{n % 7}/{n % 11}/{n % 13}/a/b/c/d/e/f/{n}" for n in range(500)],
    "in all that anyone may write": [
        f"{root}/{n}" for n in range(100) for root in ("/tmp", "/var/tmp", "/dev/shm", "/run/user/7", "/home/eve")
    ],
    "beside it": [f"/home/eve/{n}/id_rsa" for n in range(500)],
}


@pytest.mark.parametrize("where", [0, 100, 250, 499])
@pytest.mark.parametrize("kind", DECOYS)
def test_a_file_elsewhere_is_listed_among_any_number_of_decoys(kind: str, where: int) -> None:
    """Wherever the decoys are, and whenever it is opened."""
    names = DECOYS[kind].copy()
    names.insert(where, "/home/bob/.ssh/id_rsa")
    found = listed(*names)

    assert "/home/bob/.ssh/id_rsa" in found
    assert len(found) <= MOST_VALUES
    assert sum(found.values()) == 501


def test_the_first_and_the_newest_of_values_without_a_common_beginning_are_listed() -> None:
    """Any of them may be the one that matters."""
    found = list(listed(*(f"{number:05}x" for number in range(100))))
    assert found[:8] == [f"{number:05}x" for number in range(8)]
    assert set(found[8:]) == {"00099x", ANY}


def test_connections_to_one_server_are_one_value() -> None:
    """The client's port differs each time."""
    names = [f"10.0.0.1:{port}->203.0.113.9:443" for port in range(40_000, 40_050)]
    found = listed(*names, "10.0.0.1:40100->198.51.100.7:22")
    assert found == {"10.0.0.1->203.0.113.9:443": 50, "10.0.0.1->198.51.100.7:22": 1}


@given(st.lists(st.lists(st.text("ab/: …", max_size=12), max_size=40), max_size=5))
def test_every_alert_is_in_one_value(batches: list[list[str]]) -> None:
    """However they are summed, in one go or batch by batch."""
    values: dict[str, dict[str, int]] = {}
    total = merged({}, {})
    for names in batches:
        of_batch: dict[str, dict[str, int]] = {}
        for name in names:
            note(values, values_in({"fs.path.name": name}, 2))
            note(of_batch, values_in({"fs.path.name": name}, 2))
        total = merged(total, of_batch)
    for found in (merged({}, values), total, decode_values(encode_values(total))):
        counts = found.get("fs.path.name", {})
        assert len(counts) <= MOST_VALUES
        assert sum(counts.values()) == 2 * sum(map(len, batches))


def test_only_what_differs_is_listed_and_rare_values_come_first() -> None:
    """Files before other fields; values that all have are not repeated."""
    made = alert(output_fields={"proc.name": "cat", "fd.name": "/a", "user.name": "root"})
    values = {"proc.name": {"cat": 7}, "user.name": {"root": 6, "bob": 1}, "fd.name": {"/a": 6, "/b": 1}}
    found = differing(values, made)

    assert text_of(found) == "fd.name: /b, /a (6 times); user.name: bob, root (6 times)"
    assert differing({"fd.name": {"/b": 2}}, made) == {"fd.name": {"/b": 2}}


def test_a_summary_of_several_processes_states_no_leader_and_one_of_several_hosts_no_system() -> None:
    """By whichever names: alerts have some facts by ECS's alone."""
    event = {"proc.pid": 7, "process.args": ("cat",), "host.os.kernel": "6.1", "event.created": 5, "user.name": "eve"}
    first = alert(event=event)
    assert without(first, {"proc.pname": {"sh": 2, "bash": 1}}).event.keys() == {
        *("host.os.kernel", "event.created", "user.name")
    }
    assert without(first, {"fd.name": {"/a": 2, "/b": 1}}).event.keys() == event.keys() - {"event.created"}
    assert without(first, {"evt.hostname": {"a": 2, "b": 1}}).event.keys() == {
        *("proc.pid", "process.args", "user.name")
    }


def test_a_summary_states_nothing_in_which_its_alerts_may_differ() -> None:
    """If they opened different files, the first one's directory isn't that of the others."""
    event = {"evt.type": "openat", "evt.res": "0", "fd.name": "/a", "fd.directory": "/", "proc.name": "cat"}
    made = alert(output_fields={"fd.name": "/a", "proc.name": "cat"}, event=event, repeats=SUMMARY)
    found = without(made, {"fd.name": {"/a": 1, "/b": 1}})

    assert found.output_fields == {"fd.name": ("/a", "/b"), "proc.name": "cat"}
    assert found.event == {"evt.type": "openat", "proc.name": "cat"}
    assert found.stated == {"evt.type": "openat", "proc.name": "cat"}
    assert may_differ(found, ["fd.directory"])
    assert may_differ(found, ["proc.name", "fd.name"])
    assert not may_differ(found, ["proc.name", "evt.type", "proc.pname"])
