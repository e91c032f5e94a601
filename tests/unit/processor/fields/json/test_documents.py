import json
from itertools import islice

import pytest

from bus.messages import AHEAD, BEHIND
from lanner.sources.installed import built_in_source
from processor.fields.json.documents import read_events
from processor.fields.json.parsing import MAX_DEPTH, MAX_EVENT_BYTES, TOO_DEEP, TOO_LARGE, BadJsonEvent
from tests.unit.processor.detection.requests import TIME, line, request


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
        (b"[" * 100_000 + b"]" * 100_000, "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b" " * MAX_EVENT_BYTES + b"1", "more than 4,128,768 bytes"),
        (b"[%s]" % line(request(userAgent="x" * MAX_EVENT_BYTES)), "more than 4,128,768 bytes"),
        (b"[" + b"9" * 5000 + b"]", "not a JSON object"),
        (b'"\xff"', "not JSON"),
    ],
)
def test_what_is_no_audit_event_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    """Whatever a file holds, nothing but BadJsonEvent is raised."""
    with pytest.raises(BadJsonEvent, match=reason):
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


@pytest.mark.parametrize("levels", [10, 124, 125, 126, 130, 900, 5_000, 200_000])
def test_an_event_is_read_without_what_is_nested_too_deeply(levels: int) -> None:
    """The rest of the same object is there, however deep it is; a field and the rows of alerts mark it."""
    nested = b"[" * levels + b"1" + b"]" * levels
    text = line(request(requestObject={"metadata": {"x": "NESTED"}, "spec": {"type": "LoadBalancer"}}))
    (event,) = read_events(text.replace(b'"NESTED"', nested))
    is_cut = levels + 3 > MAX_DEPTH

    assert (event["ka.user.name"], event["ka.req.service.type"]) == ("alice", "LoadBalancer")
    assert event["jevt.value[/requestObject/metadata/x]"] == ("[" * 126 + "]" * 126 if is_cut else nested.decode())
    assert str(event["jevt.obj"]).count("[") > min(levels, 120)
    assert (event["json.truncated"], event.row().get("json.truncated")) == (is_cut, is_cut or None)
    assert event.truncated == (TOO_DEEP if is_cut else "")


def test_only_the_event_of_a_list_that_is_nested_too_deeply_is_marked() -> None:
    """Its neighbors are whole."""
    events = [request(auditID="a"), request(requestObject="NESTED"), request(auditID="c")]
    text = line({"kind": "EventList", "items": events}).replace(b'"NESTED"', b"[" * 999 + b"]" * 999)

    assert [event.truncated for event in read_events(text)] == ["", TOO_DEEP, ""]


@pytest.mark.parametrize(
    "large",
    [
        {"requestObject": {"x": "y" * MAX_EVENT_BYTES}, "responseObject": {"x": "y" * MAX_EVENT_BYTES}},
        {"requestObject": {"x": [[]] * 300_000}},
        {"requestURI": "/" + "&" * MAX_EVENT_BYTES},
    ],
)
def test_an_event_that_is_too_large_loses_its_largest_members_only(large: dict[str, object]) -> None:
    """Who did what must not be hidden by the size of an object; what decoding takes counts, not only the bytes."""
    (event,) = read_events(line(request(**large, a=1)))

    assert event.document == {name: value for name, value in request(a=1).items() if name not in large}
    assert event.truncated == TOO_LARGE


def test_an_event_that_an_api_server_truncated_is_marked() -> None:
    """With its flag for that, it leaves out the objects of large events."""
    annotations = {"audit.k8s.io/truncated": "true"}
    (event,) = read_events(line(request(annotations=annotations)))
    (other,) = read_events(line(request(annotations={"audit.k8s.io/truncated": "x"})))

    assert (event.truncated, other.truncated) == ("the API server left out its objects", "")


@pytest.mark.parametrize(
    ("document", "number"),
    [({"Records": "LARGE"}, 0), ({"a": "LARGE", "b": 1}, 1), ({"Records": [{}, {}], "a": "LARGE"}, 2), (["LARGE"], 0)],
)
def test_a_large_document_of_other_sources_is_also_refused(document: object, number: int) -> None:
    """The member that is left out may be the one with its events."""
    text = json.dumps(document).replace("LARGE", "x" * MAX_EVENT_BYTES).encode()
    events = read_events(text, source=built_in_source("aws_cloudtrail"), otherwise=1)
    assert [event.truncated for event in islice(events, number)] == [TOO_LARGE] * number

    with pytest.raises(BadJsonEvent, match="more than 4,128,768 bytes"):
        next(events)
