import json
import re
from typing import Any

import pytest

from notifier.falco_json import parse_falco
from schemas.alert import decode_alert, encode_alert

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
    """Give what Falco posts, with some of it changed."""
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


def test_the_id_is_made_of_hostname_time_rule_and_output() -> None:
    """The same alert posted twice has one id; an id that is a UUID is kept, anything else is not trusted."""
    one = parse_falco(falco()).id
    assert one == parse_falco(falco(tags=[], output_fields={})).id
    others = [falco(hostname="x"), falco(time="2026-11-24T14:31:31Z"), falco(rule="x"), falco(output="x")]
    assert len({one, *(parse_falco(each).id for each in others)}) == 5
    own = "01a20e63-3df8-8a19-82ef-5e8e855bbfb0"
    assert parse_falco(falco(id=own)).id == own
    assert parse_falco(falco(id="../../x")).id == one


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON: Expecting value at line 1, column 1"),
        (b"{'rule': 1}", "no JSON: Expecting property name"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"[]", "an alert is a JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"rule": NaN}', "NaN is no JSON"),
        (falco(rule=""), "at least rule, priority and time"),
        (falco(rule=3), "rule must be a text"),
        (falco(priority="high\x1b[2J"), "there is no priority 'high\\x1b[2J'"),
        (falco(priority=""), "there is no priority ''"),
        (falco(time="yesterday"), "is no date and time"),
        (falco(time="2026-11-24T14:31:30"), "names no zone"),
        (falco(time="9999-11-24T14:31:30Z"), "is no time of an event"),
        (falco(time="1960-11-24T14:31:30Z"), "is no time of an event"),
        (falco(tags="x"), "output_fields must be an object, tags a list"),
    ],
)
def test_what_is_no_alert_is_said_in_words(body: bytes, told: str) -> None:
    """Safe to print: the answer goes to a terminal."""
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
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
