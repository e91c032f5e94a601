import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.formats.falco import LineStyle, falco_alert, json_line, line_of, parse_falco, text_line, wording
from schemas.alert import alert_id, decode_alert, encode_alert
from tests.unit.alerts import TIME, alert

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


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a time zone that does not depend on the machine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_text_is_time_with_nanoseconds_priority_and_output() -> None:
    """The form that Falco's users know."""
    assert text_line(alert(), LineStyle()) == ("14:31:30.479846943: Warning A file was read | file=/etc/shadow")


def test_iso_time_has_date_and_zone() -> None:
    """`time_format_iso_8601` changes text and the output inside JSON alike."""
    style = LineStyle(time_format_iso_8601=True)
    assert text_line(alert(), style).startswith("2026-11-24T14:31:30.479846943+0000: Warning A file")
    record = json.loads(json_line(alert(), style))
    assert record["output"].startswith("2026-11-24T14:31:30.479846943+0000: Warning A file")
    assert record["output_fields"]["evt.time.iso8601"] == TIME


def test_json_has_falcos_keys_in_order_and_an_id() -> None:
    """What reads Falco's output reads ours: sorted tags, integer time, null for what is missing."""
    line = json_line(alert(), LineStyle(json_output=True))
    assert json.loads(line) == {
        "hostname": "web-3",
        "id": "01a20e63-3df8-8a19-82ef-5e8e855bbfb0",
        "output": "14:31:30.479846943: Warning A file was read | file=/etc/shadow",
        "output_fields": {"evt.time": TIME, "fd.name": "/etc/shadow", "proc.pname": None},
        "priority": "Warning",
        "rule": "A rule",
        "source": "syscall",
        "tags": ["container", "host"],
        "time": "2026-11-24T14:31:30.479846943Z",
    }
    assert list(json.loads(line)) == sorted(json.loads(line))


def test_parts_of_json_can_be_left_out() -> None:
    """Three settings of Falco's."""
    style = LineStyle(
        json_include_output_property=False, json_include_output_fields_property=False, json_include_tags_property=False
    )
    assert json.loads(json_line(alert(), style)).keys() == {"hostname", "id", "priority", "rule", "source", "time"}


def test_an_empty_list_of_tags_stays() -> None:
    """Readers needn't ask whether it is there."""
    assert json.loads(json_line(alert(tags=()), LineStyle()))["tags"] == []


def test_hostile_text_stays_on_its_line() -> None:
    """A file name can neither forge a line nor move the cursor, in either form."""
    hostile = alert(output="x\n14:00:00.0: Notice forged \x1b[2J", output_fields={"fd.name": "\x1b[2J\x9b\udcff"})
    assert text_line(hostile, LineStyle()) == ("14:31:30.479846943: Warning x\\n14:00:00.0: Notice forged \\x1b[2J")
    line = json_line(hostile, LineStyle())
    assert line.isprintable()
    assert json.loads(line)["output_fields"]["fd.name"] == "\x1b[2J\x9b\ufffd"


def test_readable_text_is_not_escaped_in_json() -> None:
    """A name in another script stays readable."""
    assert "größe" in json_line(alert(output="größe"), LineStyle())


@given(st.text(st.characters(codec=None), max_size=100), st.booleans())
def test_any_output_gives_one_line_that_can_be_encoded(output: str, as_json: bool) -> None:
    """No text breaks a sink."""
    line = line_of(LineStyle(json_output=as_json))(alert(output=output, output_fields={"fd.name": output}))
    assert len(line.splitlines()) == 1
    assert line.isprintable() or not as_json
    encoded = line.encode("utf-8")
    if as_json:
        json.loads(encoded)


def test_json_has_the_pid_whatever_the_rules_output_names() -> None:
    """Without it, nobody finds the process; a rule's own value stays."""
    made = [
        json.loads(json_line(alert(event=event, output_fields=fields), LineStyle()))["output_fields"].get("proc.pid")
        for event, fields in (({"proc.pid": 7}, {}), ({"proc.pid": 7}, {"proc.pid": 8}), ({}, {}))
    ]
    assert made == [7, 8, None]


def test_a_message_without_facts_states_them_below_its_output() -> None:
    """Names are no links, and an alert of whose program nothing is known has no such line."""
    event = {"proc.exe.origin": "package", "proc.exe.package": "coreutils", "fd.sip.name": "a.example"}
    _, body = wording(alert(event=event, output="o"))

    assert body.replace("\u2060", "").split("\n")[:2] == [
        "o",
        "Program from package coreutils; address looked up as a.example",
    ]
    assert "a.example" not in body
    assert wording(alert(event={}, output="o"))[1].count("\n") == 1


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
