"""Who requested the commands whose processes alerts are about."""

from dataclasses import replace
from time import process_time
from typing import Any

import pytest

from bus.topics import SESSIONS, TOPICS
from processor.evaluator import Evaluator
from processor.sessions.records import decode_session, encode_session
from processor.sessions.sessions import LIFETIME, Sessions
from schemas.batch import EventBatch, Process
from tests.unit.alerts import alert as alert_of
from tests.unit.processor.correlation.rules import rule, ruleset_of
from tests.unit.processor.sessions.shells import OTHER, POD, SECOND, WEB, requested, started


def person(known: Sessions, batch: EventBatch) -> Any:
    """Return who is named in an alert on the event of a batch."""
    people = known.see_batch(batch)
    return None if people is None else people.name_alert(0, alert_of()).output_fields.get("session.user")


def seen(*items: Any) -> Sessions:
    """Return the sessions after some events."""
    known = Sessions()
    for item in items:
        known.see_batch(item) if isinstance(item, EventBatch) else known.see_event(item)
    return known


@pytest.mark.parametrize("is_late", [False, True])
def test_the_person_is_named_whichever_comes_first(is_late: bool) -> None:
    """Also in alerts of processes far below, as long as their batch has the ancestors."""
    both = [requested(0), started(1)]
    known = seen(*(reversed(both) if is_late else both))
    later = started(2)
    people = known.see_batch(later)
    assert people is not None
    alert = people.name_alert(0, alert_of())

    assert alert.output.endswith(" session_user=eve")
    assert alert.output_fields["session.groups"] == ("dev",)
    assert alert.output_fields["session.sourceips"] == ("192.0.2.7", "192.0.2.1")
    assert alert.output_fields["session.command"] == "sh"
    assert person(known, started(60, depth=40)) == "eve"
    assert person(known, started(60, pid=11)) is None


@pytest.mark.parametrize(
    ("request_", "start"),
    [
        (requested(0), started(10.001)),
        (requested(10.001), started(0)),
        (requested(0, "sh", "-c", "id"), started(1, "sh")),
        (requested(0, "bash"), started(1)),
        (requested(0), started(1, container=OTHER)),
        (requested(0), started(1, container=replace(WEB, pod_namespace="dev"))),
        (requested(0), started(1, container=replace(WEB, pod_name=None))),
        (requested(0), started(1, parent=Process(pid=5, name="runc", container=0))),
        (requested(0), started(1, event_type="openat")),
        (requested(0, stage="ResponseComplete"), started(1)),
        (requested(0, responseStatus={"code": 403}), started(1)),
        (requested(0, requestURI="/api/v1/namespaces/prod/pods/web/exec"), started(1)),
        (requested(0, user=""), started(1)),
        (requested(0, objectRef={**POD, "subresource": "log"}), started(1)),
    ],
)
def test_nobody_is_named_for_what_was_not_requested(request_: Any, start: EventBatch) -> None:
    """Time, pod, container, command and the way in have to fit."""
    assert person(seen(request_, start), start) is None


def test_each_request_is_for_one_process() -> None:
    """The nearest in time is taken."""
    first, second = started(1, pid=10), started(3, pid=11)
    known = seen(requested(0.5, user="eve"), requested(2.5, user="bob"), second, first)

    assert (person(known, first), person(known, second)) == ("eve", "bob")
    assert person(seen(requested(0), first, second), second) is None


def test_a_host_that_claims_a_pod_takes_it_from_no_other() -> None:
    """Only its own alerts name the person."""
    hostile, real = started(0.5, host="hostile"), started(1)
    known = seen(requested(0), hostile, real)
    late = seen(hostile, real, requested(0))

    assert [person(each, real) for each in (known, late)] == ["eve", "eve"]


def test_a_request_that_is_delivered_again_is_the_same() -> None:
    """API servers repeat what they got no answer for."""
    again = started(3, pid=11)

    assert person(seen(requested(0), started(1), requested(0), again), again) is None


def test_alerts_of_stateful_rules_and_summaries_name_the_person() -> None:
    """Their events carry the name to the stage that knows the windows."""
    suppressed = rule("evt.type = execve and proc.name = sh", "%proc.name", "suppress: {by: [proc.name], for: 10s}")
    evaluator = Evaluator(ruleset_of(suppressed), sessions=Sessions())
    evaluator.replay(requested(0))
    first = evaluator.replay(started(1))
    evaluator.replay(replace(started(2, depth=1), sequence=8))
    (summary,) = evaluator.correlator.finish()

    assert [(each.output, each.output_fields["session.user"]) for each in (*first, summary)] == [
        ("sh session_user=eve", "eve"),
        ("REPEATED 1 more time in 10s: sh session_user=eve", "eve"),
    ]


def passed_on(known: Sessions) -> Sessions:
    """Return the sessions of a processor that has read what another one sent."""
    other = Sessions()
    for record in known.records():
        other.put(*encode_session(record))
    return other


def test_another_processor_goes_on_with_what_one_has_found() -> None:
    """It names the person, gives the request to no other process, and joins a start that it sees itself."""
    known = seen(requested(0), started(1))
    (joined,) = known.take_joined()
    other = passed_on(known)

    assert decode_session(encode_session(joined)[1]) == joined
    assert not known.take_joined()
    assert person(other, started(60, depth=3)) == "eve"
    assert person(other, started(3, pid=11)) is None
    assert person(passed_on(seen(requested(0))), started(1)) == "eve"
    assert other.refused == 0


def test_records_are_the_same_in_any_order_and_number() -> None:
    """They are delivered at least once, and a processor reads its own."""
    known = seen(requested(0), started(1))
    records = [*known.records(), *known.take_joined()]
    other = Sessions()
    for record in (*reversed(records), *records):
        other.add(record)

    assert sorted(map(str, other.records())) == sorted(map(str, known.records()))


def test_a_person_is_named_for_a_week() -> None:
    """Then the topic has deleted the record."""
    assert [kind.retention_ms for kind in TOPICS if kind.name == SESSIONS] == [LIFETIME // 1_000_000]
    known = seen(requested(0), started(1))

    assert person(known, started(LIFETIME / SECOND)) == "eve"
    assert person(known, started(LIFETIME / SECOND + 2)) is None


def test_a_process_is_the_same_if_its_hosts_clock_is_measured_again() -> None:
    """Start times are corrected by an offset that differs by parts of a second."""
    known, later = seen(requested(0), started(1)), started(60)
    process = later.processes[1]
    assert process.start_time is not None
    later.processes[1] = replace(process, start_time=process.start_time + SECOND // 2)

    assert person(known, later) == "eve"
    later.processes[1] = replace(process, start_time=process.start_time + 2 * SECOND)
    assert person(known, later) is None


def test_what_is_no_record_is_counted() -> None:
    """Nothing else is affected."""
    known = Sessions()
    for value in (None, b"", b"[]", b"{}", b'{"kind":"request"}'):
        known.put(b"", value)

    assert (known.refused, len(known)) == (5, 0)


def test_a_long_line_of_processes_is_followed_once() -> None:
    """Many alerts about it cost no more: a host could make a line of thousands."""
    known = seen(requested(0), started(1))
    deep = started(60, depth=5000)
    people = known.see_batch(deep)
    assert people is not None
    began = process_time()
    named = [people.name_alert(0, alert_of()).output_fields["session.user"] for _ in range(2000)]

    assert set(named) == {"eve"}
    assert process_time() - began < 1
