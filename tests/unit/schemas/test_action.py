import json
from dataclasses import replace
from typing import Any

import pytest

from schemas.action import (
    MAX_RECORD_BYTES,
    ActionDecision,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    decode_action_record,
    encode_action_record,
    why_protected,
)

INTENT = ActionIntent(
    id="i", type="freeze", target="container", host_id="h", hostname="web-3", state="do", text="container web",
    created=1, lease=60_000_000_000, container_id="3f2" * 4,
)  # fmt: skip
KILL = replace(INTENT, type="kill", target="process", lease=0, container_id="", pid=700, start_time=5)


@pytest.mark.parametrize(
    "record",
    [
        INTENT,
        replace(INTENT, refusal="the alert names no host", container_id=""),
        ActionDecision("d", "approve", "i", "ann", 2),
        ActionResult("i", "h", "web-3", "done", "froze 3 processes", 3, ends=4),
    ],
)
def test_a_record_is_read_as_it_was_written(record: Any) -> None:
    """A field of a later release is ignored."""
    data = encode_action_record(record)
    assert decode_action_record(data, type(record)) == record
    assert decode_action_record(json.dumps({**json.loads(data), "later": 1}).encode(), type(record)) == record


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "delete"}, "type is none of kill, freeze"),
        ({"target": "process"}, "a process can't be frozen"),
        ({"lease": 0}, "lease is out of range"),
        ({"lease": 8 * 86_400_000_000_000}, "lease is out of range"),
        ({"container_id": ""}, "doesn't identify the container"),
        ({"id": ""}, "id or host_id is empty"),
        ({"pid": "7"}, "pid is not a number"),
        ({"created": 2**70}, "created is not a number in its range"),
        ({"text": "a\0b"}, "text is not a text"),
        ({"text": "a" * 5000}, "text is not a text of at most"),
        ({"x": "a" * MAX_RECORD_BYTES}, "bytes; 16384 are allowed"),
    ],
)
def test_what_is_out_of_range_is_refused(change: dict[str, Any], reason: str) -> None:
    """Whoever wrote it: half a target is none."""
    row = json.loads(encode_action_record(INTENT))
    with pytest.raises(BadActionRecord, match=reason):
        decode_action_record(json.dumps(row | change).encode(), ActionIntent)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 9000, b"\xff"])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    """Without a traceback."""
    with pytest.raises(BadActionRecord):
        decode_action_record(data, ActionDecision)


def test_a_protected_target_has_a_reason() -> None:
    """By the path of its program on the host; in a container, anybody can put a program anywhere."""
    assert why_protected(KILL, "/usr/sbin/sshd") == "the host needs /usr/sbin/sshd"
    assert why_protected(replace(KILL, container_id="3f2"), "/usr/sbin/sshd") == why_protected(KILL, "/bin/nc") == ""
    assert why_protected(replace(KILL, pid=1), "") == "it is the first process of the host"
