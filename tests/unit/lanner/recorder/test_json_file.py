from pathlib import Path

import pytest

from lanner.recorder.json_file import JsonFile, is_json_file
from processor.fields.json.parsing import MAX_EVENT_BYTES, TOO_LARGE
from tests.unit.processor.detection.requests import line, request


def test_a_line_that_cannot_be_read_does_not_stop_those_behind_it(tmp_path: Path) -> None:
    """It is counted; the last line may be truncated, because the file is still being written."""
    path = tmp_path / "audit.log"
    long = line({"items": "x" * 2 * MAX_EVENT_BYTES})
    events = [line([request(auditID="a"), request(auditID="b")]), b"\n", b"{]\n", long, line(request(auditID="c"))]
    path.write_bytes(b"".join(events) + b'{"auditID"')

    log = JsonFile(path)
    found = [(event["evt.num"], event["ka.auditid"]) for event in log.events()]

    assert found == [(0, "a"), (1, "b"), (2, "c")]
    assert log.unreadable == 3
    assert log.first_unreadable.startswith("line 3: not JSON")


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("size", [MAX_EVENT_BYTES - 800, MAX_EVENT_BYTES, 2 * MAX_EVENT_BYTES, 5 * MAX_EVENT_BYTES])
def test_an_event_that_is_too_large_loses_its_largest_member(tmp_path: Path, size: int, end: bytes) -> None:
    """Wherever its parts are read, as those around it."""
    path = tmp_path / "audit.log"
    large = line(request(auditID="large", requestObject={"x": "y" * size})).rstrip()
    path.write_bytes(line(request()) + large + (b"\n" + line(request()) if end else b""))
    log = JsonFile(path)
    found = list(log.events())

    assert [event.truncated for event in found][1] == (TOO_LARGE if size > MAX_EVENT_BYTES - 800 else "")
    assert (len(found), found[1]["ka.user.name"], log.unreadable) == (2 + len(end), "alice", 0)


def test_audit_logs_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    """A recording begins with Avro's magic bytes."""
    (tmp_path / "audit").write_bytes(b"\n" + line(request()))
    (tmp_path / "events").write_bytes(b"Obj\x01{")

    assert [is_json_file(tmp_path / name) for name in ("audit", "events", "absent", ".")] == [True, False, False, False]
