import pytest

from processor.audit.events import MAX_DEPTH, MAX_EVENT_BYTES, BadAuditEvent, read_events
from processor.hosts.clock_skew import AHEAD, BEHIND
from tests.unit.processor.audit.requests import TIME, line, request


@pytest.mark.parametrize("wrap", [lambda e: {"kind": "EventList", "items": e}, lambda e: e])
def test_events_of_a_list_are_read_in_order(wrap: object) -> None:
    """The webhook sends an EventList; collectors of logs write arrays."""
    assert callable(wrap)
    found = list(read_events(line(wrap([request(auditID="a"), request(auditID="b")])), 7))

    assert [(event.number, event["ka.auditid"], event.time) for event in found] == [(7, "a", TIME), (8, "b", TIME)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"auditID": "a"', "not JSON"),
        (b"17", "not a JSON object"),
        (line(request(auditID=None)), "auditID is missing"),
        (line(request(stageTimestamp="noon", requestReceivedTimestamp="")), "stageTimestamp is not a valid time: noon"),
        (b"[" * 100_000 + b"]" * 100_000, f"more than {MAX_DEPTH} levels"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        (b" " * MAX_EVENT_BYTES + b"1", "more than the limit"),
        (b"[" + b"9" * 5000 + b"]", "not a JSON object"),
        (b'"\xff"', "not JSON"),
    ],
)
def test_what_is_no_audit_event_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    """Whatever a file holds, nothing but BadAuditEvent is raised."""
    with pytest.raises(BadAuditEvent, match=reason):
        list(read_events(text))


def test_an_event_without_stage_time_has_the_time_at_which_it_was_received() -> None:
    """Events of the stage RequestReceived may have only one of both."""
    (event,) = read_events(line(request(stageTimestamp=None)))

    assert event.time == TIME - 20_000_000


@pytest.mark.parametrize(
    ("received", "time"),
    [(TIME, TIME), (TIME - 60 * 10**9, TIME - 60 * 10**9 + AHEAD), (TIME + 2 * BEHIND, TIME + BEHIND)],
)
def test_times_are_moved_to_the_bounds_of_the_time_of_receipt(received: int, time: int) -> None:
    """An event dated far ahead must not silence later ones."""
    (event,) = read_events(line(request()), received=received)

    assert event.time == time


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    """Alerts are UTF-8, which has none."""
    (event,) = read_events(line(request(verb="\ud800x", requestURI="\ud83d\ude00")))

    assert (event["ka.verb"], event["ka.uri"]) == ("\ufffdx", "\U0001f600")
