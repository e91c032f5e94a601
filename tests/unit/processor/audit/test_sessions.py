"""Who requested the commands whose processes alerts are about."""

from dataclasses import replace
from typing import Any

import pytest

from processor.audit import sessions
from processor.audit.sessions import MAX_APART, Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch, Process
from tests.unit.alerts import alert as alert_of
from tests.unit.processor.audit.shells import OTHER, POD, SECOND, START, WEB, requested, started


def person(known: Sessions, batch: EventBatch) -> Any:
    """Return who is named in an alert on the event of a batch."""
    alert = alert_of(event={"evt.num": batch.first_number}, host_id=batch.host_id)
    return known.named(alert, batch).output_fields.get("session.user")


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
    alert = known.named(alert_of(event={"evt.num": later.first_number}, host_id=later.host_id), later)

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


def test_an_alert_without_its_batch_names_the_person_of_its_process_or_parent() -> None:
    """A summary of repeats, for example."""
    known = seen(requested(0), started(1))
    event = {"proc.pid": 99, "proc.pid.ts": START, "proc.ppid": 10, "proc.ppid.ts": START + 10}

    def named(**changes: Any) -> Alert:
        return known.named(alert_of(**{"event": event, "host_id": "host-1", **changes}))

    assert named().output_fields["session.user"] == "eve"
    assert "session.user" not in named(host_id="host-2").output_fields
    assert "session.user" not in named(event=event | {"proc.ppid.ts": START}).output_fields
    assert "session.user" not in named(source="k8s_audit").output_fields


def test_what_nobody_matches_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and starts of many pods, and many of one, are forgotten, the oldest first."""
    monkeypatch.setattr(sessions, "_MAX_OF_POD", 3)
    known = seen(*(requested(number / 10, f"sh{number}") for number in range(10)))

    names = [person(known, batch) for number in range(10) if (batch := _start(known, number))]
    assert names == [None] * 7 + ["eve"] * 3
    assert MAX_APART == 10 * SECOND


def _start(known: Sessions, number: int) -> EventBatch:
    batch = started(1, f"sh{number}", pid=20 + number)
    known.see_batch(batch)
    return batch


def test_a_host_that_claims_a_pod_takes_it_from_no_other() -> None:
    """Only its own alerts name the person."""
    hostile, real = started(0.5, host="hostile"), started(1)
    known = seen(requested(0), hostile, real)
    late = seen(hostile, real, requested(0))

    assert [person(each, real) for each in (known, late)] == ["eve", "eve"]


def test_an_audit_event_of_another_thread_counts_from_the_next_batch_on() -> None:
    """In a fleet, each processor follows the audit events of all clusters."""
    known = Sessions()
    known.offer(requested(0))
    start = started(1)
    known.see_batch(start)

    assert person(known, start) == "eve"


def test_a_request_that_is_delivered_again_is_the_same() -> None:
    """API servers repeat what they got no answer for."""
    again = started(3, pid=11)

    assert person(seen(requested(0), started(1), requested(0), again), again) is None
