import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.formats.text import LineStyle, json_line, line_of, text_line, wording
from tests.unit.alerts import TIME, alert


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
