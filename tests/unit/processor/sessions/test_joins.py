from dataclasses import replace

import pytest

from processor.sessions import joins
from processor.sessions.joins import PodCommands
from processor.sessions.records import CommandRequest, session_record
from tests.unit.processor.sessions.shells import requested, started


def of(event: object) -> CommandRequest:
    """Return the request that an audit event holds."""
    record = session_record(event)  # type: ignore[arg-type]
    assert isinstance(record, CommandRequest)
    return record


def test_requests_beyond_the_limit_are_evicted_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the person who has the most go first; those that have a process are no loss."""
    monkeypatch.setattr(joins, "MAX_REQUESTS", 3)
    known = PodCommands()
    known.add_request(of(requested(0, "sh", user="alice")))
    for number in range(4):
        known.add_request(of(requested(number / 10, f"sh{number}")))
    known.see_batch(started(1))

    assert [each.person.user for each in known.joined] == ["alice"]
    assert +known.evicted == {"request": 2}


def test_starts_and_sessions_beyond_the_limit_are_evicted_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start counts only if a request could still fit it."""
    monkeypatch.setattr(joins, "MAX_STARTS", 2)
    monkeypatch.setattr(joins, "MAX_SESSIONS", 2)
    known = PodCommands()
    for number in (0, 1, 2, 100, 101):
        known.see_batch(started(number, f"sh{number}", pid=20 + number))
    assert +known.evicted == {"start": 1}

    for number in (200, 300, 400):
        known.add_request(of(requested(number)))
        known.see_batch(started(number, pid=number))
    assert known.evicted["session"] == 1
    assert len(known) == 2


def test_a_request_of_another_pod_or_of_no_container_fits_accordingly() -> None:
    """Without a name, the pod has one container."""
    known = PodCommands()
    known.add_request(replace(of(requested(0)), pod="other"))
    known.see_batch(started(1))
    assert len(known) == 0

    known.add_request(replace(of(requested(0)), container=None))
    assert len(known) == 1
