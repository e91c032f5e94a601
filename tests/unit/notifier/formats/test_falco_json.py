import json
import re
from typing import Any

import pytest

from notifier.formats.falco_json import falco_alert, parse_falco
from schemas.alert import alert_id, decode_alert, encode_alert

FALCO: dict[str, Any] = {
    "hostname": "web-3",
    "output": "14:31:30.479846943: Warning A shell was spawned | user=root",
    "output_fields": {"user.name": "root", "proc.pid": 12, "container.id": None, "evt.time": 1795530690479846943},
    "priority": "Warning",
    "rule": "Terminal shell",
    "source": "syscall",
    "tags": ["mitre_execution", "T1059"],
    "time": "2026-11-24T14:31:30.479846943Z",
}


def falco(**facts: Any) -> bytes:
    """Return what Falco posts, with changes."""
    return json.dumps(FALCO | facts).encode()


def test_what_falco_posts_becomes_an_alert() -> None:
    """Time and priority before the output are no part of it; the event is what fields there are."""
    made = parse_falco(falco())
    assert (made.rule, made.priority, made.hostname) == ("Terminal shell", "Warning", "web-3")
    assert made.output == "A shell was spawned | user=root"
    assert made.time == 1_795_530_690_479_846_943
    assert made.event == {"user.name": "root", "proc.pid": 12, "evt.time": 1795530690479846943}
    assert made.output_fields["container.id"] is None
    assert made.tags == ("mitre_execution", "T1059")


def test_the_id_is_made_of_all_that_was_posted() -> None:
    """The same alert posted twice has one id, in whatever order its keys come; any other has another."""
    one = parse_falco(falco()).id
    assert parse_falco(json.dumps(dict(reversed(FALCO.items()))).encode()).id == one
    others = [
        falco(hostname="x"),
        falco(time="2026-11-24T14:31:31Z"),
        falco(rule="x"),
        falco(output="x"),
        falco(tags=[]),
        falco(output_fields={}),
    ]
    assert len({one, *(parse_falco(each).id for each in others)}) == 7


def test_no_sender_can_take_the_id_of_an_alert_that_is_to_come() -> None:
    """The id of a throttled alert's summary is known beforehand: what is posted under it gets another."""
    first = alert_id(1_795_530_690_479_846_943, "Terminal shell", "web-3", "boot", 1, 2, 3)
    summary = alert_id(1_795_530_750_479_846_943, first, "summary")
    for chosen in (first, summary):
        made = parse_falco(falco(id=chosen))
        assert made.id != chosen
        assert made.output_fields["posted.id"] == chosen
        assert made.id != parse_falco(falco(id=chosen, output="another")).id
    assert "posted.id" not in parse_falco(falco(id="../../x")).output_fields
    own = falco_alert(FALCO | {"id": first})
    assert own.id == first, "what this user's own file says is trusted"


@pytest.mark.parametrize(
    ("body", "reported"),
    [
        (b"", "not valid JSON: Expecting value at line 1, column 1"),
        (b"{'rule': 1}", "not valid JSON: Expecting property name"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"[]", "an alert is a JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"rule": NaN}', "NaN is not valid JSON"),
        (falco(rule=""), "an alert needs rule, priority and time"),
        (falco(rule=3), "rule must be a string"),
        (falco(priority="high\x1b[2J"), "unknown priority 'high\\x1b[2J'"),
        (falco(priority=""), "unknown priority ''"),
        (falco(time="yesterday"), "is not a date and time"),
        (falco(time="2026-11-24T14:31:30"), "has no time zone"),
        (falco(time="9999-11-24T14:31:30Z"), "is out of range"),
        (falco(time="1960-11-24T14:31:30Z"), "is out of range"),
        (falco(tags="x"), "output_fields must be an object and tags a list"),
    ],
)
def test_what_is_no_alert_is_reported_in_words(body: bytes, reported: str) -> None:
    """Safe to print: the answer goes to a terminal."""
    with pytest.raises(ValueError, match=re.escape(reported)) as caught:
        parse_falco(body)
    assert str(caught.value).isprintable()


def test_whatever_values_fields_have_the_alert_can_be_stored() -> None:
    """Objects, halves of surrogate pairs, numbers too large for a long."""
    fields = {"a": {"b": [1]}, "c\ud800": "\ud800", "d": 2**70, "e": True, "f": 1.5}
    body = falco(output_fields=fields, output="\udfff").replace(b"1.5", b"1e999")
    made = parse_falco(body)
    stored = decode_alert(encode_alert(made))
    assert stored.output_fields == {"a": '{"b": [1]}', "c\ufffd": "\ufffd", "d": str(2**70), "e": True, "f": "inf"}


@pytest.mark.parametrize(("given", "meant"), [("warn", "Warning"), ("INFO", "Informational"), ("Critical", "Critical")])
def test_priorities_are_taken_as_older_senders_write_them(given: str, meant: str) -> None:
    """Case doesn't matter, a beginning is enough."""
    assert parse_falco(falco(priority=given)).priority == meant
