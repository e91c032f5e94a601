import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterable

import pytest

from lanner.intake.documents import BadBody, BadDocument, BodyMemory, BodyTooLarge, NoRoom, RequestBody, split, unpacked
from processor.fields.json.cloud_logging import audit_event
from processor.fields.json.documents import MAX_EVENTS, read_events
from processor.fields.json.parsing import LEFT_OUT, MAX_EVENT_BYTES, TOO_DEEP, TOO_LARGE
from tests.unit.processor.detection.log_entries import exec_entry
from tests.unit.processor.detection.requests import line, request

DEEP = '"requestObject":' + "[" * 5000 + '"]\\"["' + "]" * 5000
A, B = request(auditID="a", requestURI="/ä"), request(auditID="b")


def _keys(document: bytes) -> list[bytes | None]:
    return [event.key for event in split(document)]


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [A, B]},
        [A, B],
        {"records": [{"category": "kube-audit", "properties": {"log": json.dumps(each)}} for each in (A, B)]},
        {"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "message": json.dumps(each)} for each in (A, B)]},
    ],
)
def test_each_kind_of_list_is_split_into_its_events(document: object) -> None:
    """The webhook's, a log shipper's, and the envelopes of Event Hubs and of CloudWatch Logs."""
    events = split(b" " + json.dumps(document, ensure_ascii=False).encode() + b"\n")

    assert [event.key for event in events] == [b"a", b"b"]
    assert [json.loads(event.value) for event in events] == [A, B]


def test_a_single_event_is_passed_on_as_it_is() -> None:
    """A member with the name of a list makes no list of it."""
    text = json.dumps({"items": [1, 2], **A}, indent=1).encode()
    (event,) = split(text + b"\n")

    assert (event.key, event.value) == (b"a", text)


def test_records_of_other_logs_are_left_out() -> None:
    """Azure writes the logs of all parts of the control plane into one hub."""
    records = [
        {"category": "kube-scheduler", "properties": {"log": "I1125 leader"}},
        {"category": "kube-audit-admin", "properties": {"log": json.dumps(A)}},
        {"properties": {"log": json.dumps(B)}},
    ]
    assert _keys(json.dumps({"records": records}).encode()) == [b"a", b"b"]


@pytest.mark.parametrize("bad", ['{"auditID":1}', "17", "9" * 5000, '{"x":[' + "9" * 5000 + "]}"])
def test_an_event_that_cannot_be_read_takes_no_other_with_it(bad: str) -> None:
    """It is passed on as received; where it is evaluated, it becomes a dead letter with a reason."""
    events = split(f'{{"items":[{line(A).decode()},{bad},{line(B).decode()}]}}'.encode())

    assert [event.key for event in events] == [b"a", None, b"b"]
    assert events[1].value == bad.encode()


def _wrapped(kind: str, *events: str) -> bytes:
    if kind == "array":
        return f"[{','.join(events)}]".encode()
    if kind == "items":
        return f'{{"items": [{",".join(events)}]}}'.encode()
    if kind == "records":
        return json.dumps({"records": [{"properties": {"log": event}} for event in events]}).encode()
    return json.dumps({"logEvents": [{"message": event} for event in events]}).encode()


@pytest.mark.parametrize("kind", ["array", "items", "records", "logEvents"])
@pytest.mark.parametrize("levels", [130, 980, 5000])
def test_an_event_that_is_nested_too_deeply_keeps_its_id_and_its_neighbors(kind: str, levels: int) -> None:
    """It is marked where it is evaluated, however deep it is and whatever it comes in."""
    deep = line(request(auditID="x", requestObject="DEEP")).decode().replace('"DEEP"', "[" * levels + "]" * levels)
    events = split(_wrapped(kind, line(A).decode(), deep, line(B).decode()))
    read = [each for event in events for each in read_events(event.value)]

    assert [event.key for event in events] == [b"a", b"x", b"b"]
    assert [(each["ka.auditid"], each.truncated) for each in read] == [("a", ""), ("x", TOO_DEEP), ("b", "")]


def test_a_single_event_that_is_nested_too_deeply_keeps_its_id() -> None:
    """It is read member by member; a number of thousands of digits beside it does no harm."""
    assert _keys(f'{{"auditID":"x",{DEEP}, "n": {"9" * 5000}}}'.encode()) == [b"x"]


@pytest.mark.parametrize("kind", ["array", "items", "records", "logEvents"])
def test_a_document_has_a_limit_of_events(kind: str) -> None:
    """A few kilobytes can hold millions of empty ones."""
    assert len(split(_wrapped(kind, *["[]"] * MAX_EVENTS))) == MAX_EVENTS
    with pytest.raises(BadDocument, match="more than 10,000 events"):
        split(_wrapped(kind, *["[]"] * (MAX_EVENTS + 1)))


def test_records_without_an_event_are_passed_on() -> None:
    """They become dead letters, so that somebody looks at them."""
    events = split(b'{"records": [1, {"properties": {"log": "no JSON \\ud800"}}], "x": 1}')

    assert [event.value for event in events] == [b"1", b"no JSON ?"]


def test_an_event_that_is_too_large_loses_its_largest_members_only() -> None:
    """Who did what must not be hidden by the size of an object."""
    large = request(auditID="large", requestObject={"x": "y" * MAX_EVENT_BYTES}, responseObject={"x": 1})
    (event,) = split(line([large]))

    del large["requestObject"]
    assert (event.key, json.loads(event.value)) == (b"large", large | {LEFT_OUT: TOO_LARGE})
    (read,) = read_events(event.value)
    assert read.truncated == TOO_LARGE


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"17", b"{", b"[", b"[1,", b"[1 2]", b'{"items":[1 2]}', b'{"items":[nul]}', b'{"items":[]} x'),
        *(b"{}", b'{"kind": "Pod"}', b'{"auditID": 1}', b"{1: 2}", b"\xff", b"[" * 5000, b'{"items":[' + b"9" * 5000),
        b'{"items": [], "records": []}',
    ],
)
def test_what_is_no_document_of_audit_events_is_refused(text: bytes) -> None:
    """The message is for the sender."""
    with pytest.raises(BadDocument):
        split(text)


@pytest.mark.parametrize("text", [b"[]", b'{"items": []}', b'{"items": null, "kind": "EventList"}'])
def test_a_list_may_be_empty(text: bytes) -> None:
    """Go writes an empty list as null."""
    assert split(text) == []


@pytest.mark.parametrize("is_array", [False, True])
def test_an_entry_of_cloud_logging_becomes_an_audit_event(*, is_array: bool) -> None:
    """The topic of audit events has one format; entries of other services are left out."""
    entry = exec_entry()
    other = {**entry, "protoPayload": {"serviceName": "container.googleapis.com"}}
    documents = [[other, entry]] if is_array else [other, entry]
    (event,) = [event for document in documents for event in split(json.dumps(document, indent=1).encode())]

    assert event.key == entry["insertId"].encode()
    assert json.loads(event.value) == audit_event(entry)


@pytest.mark.parametrize("levels", [130, 980, 5000])
@pytest.mark.parametrize("kind", ["array", "records"])
def test_an_entry_that_is_nested_too_deeply_becomes_an_audit_event(kind: str, levels: int) -> None:
    """The request in it is what a user chose."""
    entry = exec_entry()
    entry["protoPayload"]["request"] = "DEEP"
    text = json.dumps(entry).replace('"DEEP"', f'{{"a": {"[" * levels}{"]" * levels}}}')
    (event,) = split(_wrapped(kind, text))
    (read,) = read_events(event.value)

    assert (event.key, read["ka.verb"], read.truncated) == (entry["insertId"].encode(), "create", TOO_DEEP)


LIMIT = 10_000


async def _chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _read(*parts: bytes, encoding: str = "", memory: BodyMemory | None = None) -> bytes:
    body = RequestBody(memory or BodyMemory(), LIMIT)
    return asyncio.run(body.read(_chunks(parts), encoding))


def test_a_body_is_decompressed_as_it_arrives() -> None:
    """Chunks end anywhere."""
    text = b"[" + b"1," * 4000 + b"1]"
    packed = gzip.compress(text)

    assert _read(*(packed[at : at + 7] for at in range(0, len(packed), 7)), encoding="gzip") == text
    assert _read(text[:5], text[5:], encoding="identity") == text


@pytest.mark.parametrize(
    ("parts", "encoding"),
    [
        ([b"x" * LIMIT, b"x"], ""),
        ([gzip.compress(b" " * 50_000_000, mtime=0)], "gzip"),
        ([gzip.compress(b" " * (LIMIT + 1), mtime=0)], "gzip"),
        ([gzip.compress(b"", mtime=0)] + [b"x" * 5000] * 3, "gzip"),
    ],
)
def test_a_body_is_bounded_before_and_after_decompression(parts: list[bytes], encoding: str) -> None:
    """The rest is not read."""
    with pytest.raises(BodyTooLarge):
        _read(*parts, encoding=encoding)


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"x", mtime=0)[:-1], b"", gzip.compress(b"x", mtime=0) * 2])
def test_what_is_not_one_gzip_stream_is_refused(body: bytes) -> None:
    """A body that was cut must not pass for a shorter one."""
    with pytest.raises(BadBody):
        _read(body, encoding="gzip")


def test_unknown_encodings_are_refused() -> None:
    """An API server sends gzip at most."""
    with pytest.raises(BadBody, match="must be gzip"):
        _read(b"x", encoding="br")


def test_messages_of_a_topic_may_be_compressed() -> None:
    """What is no gzip stream, or too large, is passed on as it is: it becomes a dead letter."""
    packed = gzip.compress(b"x" * LIMIT)
    cut, large = packed[:-1], gzip.compress(b"x" * (LIMIT + 1))

    assert unpacked(packed, LIMIT) == b"x" * LIMIT
    assert [unpacked(each, LIMIT) for each in (b"[]", cut, large, b"\x1f\x8bx")] == [b"[]", cut, large, b"\x1f\x8bx"]


def test_bodies_share_a_limit() -> None:
    """Many clients at once can't make the process hold more; what was answered makes room."""
    memory = BodyMemory(15_000)
    first = RequestBody(memory, LIMIT)
    asyncio.run(first.read(_chunks([b"x" * 9000]), ""))
    second = RequestBody(memory, LIMIT)
    with pytest.raises(NoRoom):
        asyncio.run(second.read(_chunks([b"x" * 5000, b"x" * 4000]), ""))
    second.release()
    assert memory.held == 9000
    first.release()

    assert _read(b"x" * 9000, memory=memory) == b"x" * 9000


def test_bodies_that_arrive_slowly_make_room_for_clients_that_hold_less() -> None:
    """The oldest of the client that holds most; what has arrived stays until it is stored."""

    async def read() -> tuple[list[object], int]:
        memory, go = BodyMemory(15_000), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"x" * 4000
            await go.wait()
            yield b"x"

        bodies = [RequestBody(memory, LIMIT, client) for client in ("slow", "slow", "other")]
        tasks = [asyncio.create_task(each.read(slowly(), "")) for each in bodies]
        await asyncio.sleep(0)
        await RequestBody(memory, LIMIT, "honest").read(_chunks([b"x" * 6000]), "")
        held = memory.held
        with pytest.raises(NoRoom):
            await RequestBody(memory, LIMIT, "other").read(_chunks([b"x" * 6000]), "")
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [len(each) if isinstance(each, bytes) else type(each) for each in found], held

    found, held = asyncio.run(read())
    assert found == [NoRoom, 4001, 4001]
    assert held == 14_000
