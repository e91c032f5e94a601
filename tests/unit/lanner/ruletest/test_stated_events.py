import json
from pathlib import Path

import pytest

from collector.events.system_calls import BY_EVENT
from lanner.ruletest.given import given_fields
from lanner.ruletest.reading import read_events
from lanner.ruletest.world import make_batch
from tests.unit.lanner.ruletest.stated import fields_of

CASES = json.loads(Path(__file__).with_name("derived.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_causes_become_the_fields_that_a_collector_would_have_sent(case: dict[str, object]) -> None:
    """A test states causes, and the collector's own code derives the fields."""
    text, expected = str(case["given"]), case["fields"]
    assert isinstance(expected, dict)

    assert (
        dict(zip(expected, fields_of(text, *expected, event=int(str(case.get("event", 0)))), strict=True)) == expected
    )


@pytest.mark.parametrize("event", sorted(BY_EVENT))
def test_every_watched_call_can_be_stated(event: str) -> None:
    """By type and process, and by path if the call takes one."""
    spec = BY_EVENT[event]
    paths = {
        argument.name: f"/tmp/{argument.name}" for argument in spec.arguments if argument.kind in ("path1", "path2")
    }
    named = {} if event.startswith("exec") else paths
    if event == "open_by_handle_at":
        named = {"fd.name": "/tmp/x"}
    text = json.dumps({"evt.type": event, "proc": "demo", **named})

    assert fields_of(text, "evt.type", "proc.name", "container.id") == [event, "demo", "host"]


def test_two_mentions_of_a_process_are_one_process() -> None:
    """They have the same pid and start, so that time passes for the process."""
    text = """
    - {evt.type: close, proc: &p {name: nginx, age: 1s}}
    - {at: 4s, evt.type: close, proc: *p}
    """

    first = fields_of(text, "proc.pid", "proc.duration")
    second = fields_of(text, "proc.pid", "proc.duration", event=1)

    assert first[0] == second[0]
    assert (first[1] // 10**9, second[1] // 10**9) == (1, 5)


def test_events_come_in_the_order_of_their_times() -> None:
    """Regardless of their order in the file; events of the same time are in file order."""
    text = """
    - {at: 2s, evt.type: close, proc: c}
    - {at: 1s, evt.type: close, proc: a}
    - {at: 1s, evt.type: close, proc: b}
    """
    events, _ = read_events("x", text)

    assert [process.name for process in make_batch(events).processes] == ["a", "b", "c"]


def test_children_share_their_ancestors() -> None:
    """Two programs of one shell have the same parent."""
    text = """
    - {evt.type: close, proc: {name: a, ancestors: [bash, sshd]}}
    - {evt.type: close, proc: {name: b, ancestors: [bash, sshd]}}
    """

    assert fields_of(text, "proc.apid[1]", "proc.apid[2]") == fields_of(text, "proc.apid[1]", "proc.apid[2]", event=1)


def test_a_printed_summary_states_only_what_its_alerts_share() -> None:
    """What they differ in is not known, and so neither are the other facts about their files."""
    own = {"repeats.count": 2, "fd.name": ["/a", "/b"], "proc.name": "cat"}
    fields = given_fields({"rule": "R", "output_fields": own, "event": {"evt.type": "openat"}})

    assert fields == {"repeats.count": 2, "proc.name": "cat", "evt.type": "openat"}
