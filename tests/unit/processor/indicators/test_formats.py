import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.indicators import formats
from processor.indicators.formats import Format, Placed, RejectedEntry, read_entries
from processor.indicators.tables import Kind


def read(data: bytes | str, form: Format, kind: Kind = "address", **columns: str) -> list[tuple[object, ...]]:
    """Return line, column, and text or reason of what a file has."""
    raw = data if isinstance(data, bytes) else data.encode()
    return [
        (each.line, each.column, each.reason)
        if isinstance(each, RejectedEntry)
        else (
            each.line,
            each.column,
            *filter(None, (each.entry.text, each.entry.expires, each.entry.description, each.entry.starts)),
        )
        for each in read_entries(BytesIO(raw), form, kind, columns)
    ]


def test_a_text_file_has_an_entry_a_line() -> None:
    """Comments describe; bad lines are reported with their places, and the rest is read."""
    data = b"\xef\xbb\xbf# head\n1.2.3.0/24 ; SBL1\r\n\n  a.example\n\xff\n" + b"x" * 200_000 + b"\n9.9.9.9"
    assert read(data, "text") == [
        (2, 1, "1.2.3.0/24", "SBL1"),
        (4, 3, "a.example"),
        (5, 1, "the line is not UTF-8"),
        (6, 1, "the line has 65,536 bytes or more"),
        (7, 1, "9.9.9.9"),
    ]


def test_a_csv_file_has_the_columns_that_its_header_names() -> None:
    """They are renamed as the rule file states; a time that can't be read is reported."""
    data = '# c\n"seen","ip","malware","until"\nx,1.2.3.4,Emotet,2030-01-01\ny,5.6.7.8\nz,9.9.9.9,,soon\n'
    assert read(data, "csv", value="ip", description="malware", expires="until") == [
        (3, 3, "1.2.3.4", 1893456000, "Emotet"),
        (4, 3, "5.6.7.8"),
        (5, 3, "it has a time that is not such as 2026-11-24 or 2026-11-24T14:31:30Z"),
    ]
    assert read("value\n1.2.3.4\n", "csv") == [(2, 1, "1.2.3.4")]
    assert read("a,b\n1,2\n", "csv", value="ip") == [(1, 1, "there is no column 'ip' among the 2 of the header")]
    assert read(f'value\n"{"x" * 60_000}\n{"y" * 60_000}\n{"z" * 60_000}\n', "csv")[0][2] == (
        "not CSV: field larger than field limit (131072)"
    )


def indicator(pattern: Any, **more: object) -> dict[str, object]:
    """Make an object of STIX."""
    return {"type": "indicator", "spec_version": "2.1", "pattern_type": "stix", "pattern": pattern, **more}


def test_a_bundle_of_stix_has_the_values_of_simple_patterns() -> None:
    """Each list takes its own kind; what is revoked has none, and a pattern that no list can use is reported."""
    objects = [
        {"type": "identity", "name": "x", "objects": [indicator("[ipv4-addr:value = '9.9.9.9']")]},
        indicator(
            "[file:hashes.'SHA-256' = 'ab'] OR [domain-name:value='o\\'x' OR ipv4-addr:value = '1.2.3.4' ] ",
            name=" Two\nlines",
            valid_from="2029-01-01T00:00:00Z",
            valid_until="2030-01-01T00:00:00.5Z",
        ),
        indicator("[ipv4-addr:value = '5.6.7.8']", revoked=True),
        indicator("rule x {}", pattern_type="yara"),
        indicator("[url:value = 'https://x.example']"),
        indicator("[a:b = 'c' AND ipv4-addr:value = '1.1.1.1']"),
        indicator("[ipv4-addr:value ISSUBSET '1.0.0.0/8']"),
        indicator("[ipv4-addr:value = '1.1.1.1"),
        indicator(7),
        indicator("[ipv4-addr:value = '1.1.1.1']", valid_until="tomorrow"),
    ]
    text = json.dumps({"objects": objects, "type": "bundle", "id": "bundle--1"}, indent=0)
    reasons = [str(each[2]) for each in read(text, "stix") if each[2] != "1.2.3.4"]
    assert next(each[2:] for each in read(text, "stix")) == ("1.2.3.4", 1893456000, "Two lines", 1861920000)
    assert next(each[2] for each in read(text, "stix", "digest")) == "ab"
    assert next(each[2] for each in read(text, "stix", "name")) == "o'x"
    assert [reason[:20] for reason in reasons] == [
        "its pattern is in an",
        "its pattern compares",
        *["its pattern is more "] * 3,
        "it has no pattern, o",
        "it has a time that i",
    ]
    assert {text.splitlines()[int(str(each[0])) - 1] for each in read(text, "stix")} == {"{"}


def test_a_revoked_object_has_no_entries_by_older_versions() -> None:
    """Wherever they are in the bundle; a version that is newer than the revocation counts."""
    old, new = ({"id": "indicator--1", "modified": f"202{year}-01-01T00:00:00Z"} for year in (4, 6))
    gone = indicator("", id="indicator--1", modified="2025-01-01T00:00:00Z", revoked=True)
    one, two = (indicator(f"[ipv4-addr:value = '192.0.2.{each}']") for each in (1, 2))
    for objects in ([{**one, **old}, gone, two], [gone, {**one, **old}, two]):
        assert [each[2] for each in read(json.dumps({"objects": objects}), "stix")] == ["192.0.2.2"]
    assert [each[2] for each in read(json.dumps({"objects": [gone, {**one, **new}]}), "stix")] == ["192.0.2.1"]
    broken = json.dumps({"objects": [one, gone]})[:-2]
    assert [str(each[2])[:9] for each in read(broken, "stix")] == ["192.0.2.1", "not JSON,"]


def test_attributes_of_misp_are_those_for_detection() -> None:
    """Events, their objects and answers of the API have them; composite types have two values."""
    attributes = [
        {"type": "ip-dst|port", "value": "1.2.3.4|80", "to_ids": True, "comment": "c"},
        {"type": "domain|ip", "value": "a.example|5.6.7.8", "category": "Network activity"},
        {"type": "ip-src", "value": "9.9.9.9", "to_ids": False},
        {"type": "ip-src", "value": "9.9.9.9", "deleted": True},
        {"type": "ip-src", "value": 9},
    ]
    digest = [{"Attribute": [{"type": "filename|sha256", "value": "x|ab", "to_ids": True}]}]
    event = {"Event": {"info": "i", "Orgc": {"Attribute": {}}, "Attribute": attributes, "Object": digest}}
    for whole in (event, {"response": [event]}, [event], {"response": {"Attribute": attributes}}):
        assert [each[2:] for each in read(json.dumps(whole), "misp")] == [
            ("1.2.3.4", "c"),
            ("5.6.7.8", "Network activity"),
            ("the attribute has no type or value",),
        ]
    assert [each[2] for each in read(json.dumps(event), "misp", "digest")][-1] == "ab"
    assert next(each[2] for each in read(json.dumps(event), "misp", "name")) == "a.example"


@pytest.mark.parametrize("data", ["", "[", "{", '{"objects":[', '{"objects":[1 2]}', '{"objects":[]} x', '{"Event"}'])
def test_what_is_not_json_is_reported_at_its_place(data: str) -> None:
    """What comes before is read."""
    ((line, _, reason),) = read(data, "stix")
    assert (line, str(reason)[:8]) == (1, "not JSON")
    whole = json.dumps(indicator("[ipv4-addr:value = '1.2.3.4']"))
    assert [each[2] for each in read(f'{{"objects": [{whole},\n!', "stix")] == [
        "1.2.3.4",
        "not JSON, so the rest is not read: Expecting value",
    ]


@pytest.mark.parametrize("part", ["[", '{"Event":', '{"objects":[[', '{"a":'])
def test_deep_json_is_reported(part: str) -> None:
    """No stack overflows."""
    (found,) = read(part * 100_000, "misp")
    assert "not JSON" in str(found[2])


def test_a_file_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is decoded; of lines, those before the limit are read."""
    monkeypatch.setattr(formats, "MAX_BYTES", 20)
    monkeypatch.setattr(formats, "MAX_JSON_BYTES", 20)
    assert [each[2] for each in read("1.2.3.4\n" * 5, "text")] == [
        "1.2.3.4",
        "1.2.3.4",
        "the file has more than 20 bytes: the rest is not read",
    ]
    assert "more than 20 bytes" in str(read('{"objects":         []}', "stix"))


@given(st.binary(max_size=300), st.sampled_from(["text", "csv", "stix", "misp"]))
def test_no_bytes_make_reading_raise(data: bytes, form: Format) -> None:
    """Everything is an entry or is reported."""
    for prefix in (b"", b"value,expires\n", b'{"objects":[{"type":"indicator","pattern":"['):
        for each in read_entries(BytesIO(prefix + data), form, "address", {}):
            assert isinstance(each, Placed | RejectedEntry)
