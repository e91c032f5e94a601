import json

import pytest

from lanner.console.store.rows import Mark, mark_key, mark_value, read_mark


@pytest.mark.parametrize(
    "mark",
    [
        Mark("group:0a", "acknowledged", "17", "alice", 5),
        Mark("alert:01a2", "comment/1-a", "two\nlines \u202e", "bob", 6),
        Mark("group:0a", "assignee", "", "", 0),
    ],
)
def test_a_mark_is_the_same_after_the_topic(mark: Mark) -> None:
    """A decision that was taken back deletes its key."""
    assert read_mark(mark_key(mark), mark_value(mark)) == mark
    assert (mark_value(mark) is None) == (not mark.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b"{}"),
        (b"\xff", b"{}"),
        (b"group:a\x1facknowledged", b"not json"),
        (b"group:a\x1facknowledged", b"[]"),
        (b"group:a\x1facknowledged", json.dumps({"value": "soon", "author": "a", "at": 1}).encode()),
        (b"group:a\x1fmuted_until", json.dumps({"value": "-1", "author": "a", "at": 1}).encode()),
        (b"host:a\x1fassignee", json.dumps({"value": "x", "author": "a", "at": 1}).encode()),
        (b"group:\x1fassignee", json.dumps({"value": "x", "author": "a", "at": 1}).encode()),
        (b"group:a\x1fcolor", json.dumps({"value": "x", "author": "a", "at": 1}).encode()),
        (b"group:a\x1fassignee", json.dumps({"value": "x" * 5000, "author": "a", "at": 1}).encode()),
        (b"group:" + b"a" * 300 + b"\x1fassignee", json.dumps({"value": "x", "author": "a", "at": 1}).encode()),
    ],
)
def test_a_message_that_is_no_mark_is_skipped(key: bytes, value: bytes) -> None:
    """Somebody else may write to the topic."""
    assert read_mark(key, value) is None
