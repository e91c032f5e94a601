from collections.abc import Iterator

import pytest

from foundation.yaml.nodes import SourceFile
from lanner.errors import BadInput
from lanner.sources.reading import read_mapping
from processor.fields.json.documents import JsonSource, event_of, read_events
from schemas.catalog.fields import FIELDS, define_sources

MAPPING = r"""
source: my_app
time: [/at, /meta/at]
key: /id
host: /host
user: /user/name
row: [app.user, app.size]
fields:
  app.user: /user/name
  app.size: {at: /bytes, type: integer, description: Bytes that were sent}
  app.ok: {at: /ok, type: boolean}
  app.from: {at: /from, type: address}
  app.roles: {at: /user/roles/*, list: true}
  app.kind: {at: /kind, texts: {"1": read, "2": write}}
  app.path: {text: "%app.user/%app.kind"}
  app.shop: {at: /url, match: "shop=([a-z]+)"}
"""


@pytest.fixture
def source() -> Iterator[JsonSource]:
    """Yield the source of the mapping while its fields are known."""
    mapping = read_mapping(SourceFile("my_app.yaml", MAPPING))
    define_sources({"my_app": mapping.file}, mapping.specs)
    yield mapping.source()
    define_sources({}, ())


@pytest.mark.parametrize(
    ("document", "field", "value"),
    [
        ({"user": {"name": "eve"}, "kind": 2}, "app.path", "eve/write"),
        ({"user": {"name": "eve"}, "kind": 3}, "app.path", None),
        ({"bytes": "12"}, "app.size", 12),
        ({"bytes": 1e300}, "app.size", None),
        ({"bytes": -1}, "app.size", None),
        ({"bytes": [1]}, "app.size", None),
        ({"ok": True}, "app.ok", True),
        ({"ok": "no"}, "app.ok", None),
        ({"from": "2001:DB8::1"}, "app.from", "2001:db8::1"),
        ({"from": "nowhere"}, "app.from", None),
        ({"user": {"roles": ["a", 1, None]}}, "app.roles", ("a", "1")),
        ({"user": {"roles": {"a": 1}}}, "app.roles", ()),
        ({"url": "/?shop=books"}, "app.shop", "books"),
        ({"url": "/"}, "app.shop", None),
        ({"user": "eve"}, "json.user", None),
        ({"host": "web-1"}, "json.host", "web-1"),
        ({"id": 7}, "json.key", "7"),
    ],
)
def test_a_field_has_its_type_or_no_value(
    source: JsonSource, document: dict[str, object], field: str, value: object
) -> None:
    """Whatever a document holds."""
    assert event_of(document, 0, None, source, otherwise=1)[field] == value


@pytest.mark.parametrize(
    ("document", "time"),
    [
        ({"at": "2026-11-25T10:34:15Z"}, 1_795_602_855 * 10**9),
        ({"at": 1_795_602_855}, 1_795_602_855 * 10**9),
        ({"at": "1795602855621"}, 1_795_602_855_621 * 10**6),
        ({"at": 1_795_602_855_621_094}, 1_795_602_855_621_094_000),
        ({"at": 1_795_602_855_621_094_001}, 1_795_602_855_621_094_001),
        ({"at": "noon", "meta": {"at": 1_795_602_855}}, 1_795_602_855 * 10**9),
        ({"at": True}, 1),
        ({"at": -5}, 1),
        ({"at": 10**30}, 1),
        ({"at": "9" * 400}, 1),
    ],
)
def test_times_are_texts_or_numbers_of_any_unit(source: JsonSource, document: dict[str, object], time: int) -> None:
    """An event without a valid time has that of its arrival."""
    assert event_of(document, 0, None, source, otherwise=1).time == time


@pytest.mark.parametrize("text", [b"[" + b"9" * 5000 + b"]", b'{"at": 1e999, "bytes": 1e999}', b'{"bytes": NaN}'])
def test_numbers_without_bounds_are_text(source: JsonSource, text: bytes) -> None:
    """A document that were refused for one would be a way to hide."""
    (event,) = read_events(b'{"bytes": %b}' % text, source=source, otherwise=1)

    assert event["app.size"] is None
    assert isinstance(event["json.value[/bytes]"], str)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("fields: {}\n", "1:1", "names its source"),
        ("source: Syscall\n", "1:9", "not a name of a source"),
        ("source: syscall\n", "1:9", "has a meaning already"),
        ("source: proc.x\n", "1:9", "not a name of a source"),
        ("source: process\n", "1:9", "has a meaning already"),
        ("source: a\nfields:\n  proc.name: /x\n", "3:14", "belongs to others"),
        ("source: a\nfields:\n  a: /x\n", "3:6", "not a name of a field"),
        ("source: a\nfields:\n  a.b: x\n", "3:8", "begins with a slash"),
        ("source: a\nfields:\n  a.b: '/[x]'\n", "3:8", "has the form"),
        ("source: a\nfields:\n  a.b: {at: /x, match: '('}\n", "3:24", "not a regular expression"),
        ("source: a\nfields:\n  a.b: {text: '%a.c'}\n", "3:15", "unknown field 'a.c'"),
        ("source: a\nfields:\n  a.b: {at: /x, typ: integer}\n", "3:17", "has no key 'typ'"),
        ("source: a\nfields:\n  a.b: {at: /x, type: float}\n", "3:23", "unknown type 'float'"),
        ("source: a\nfields:\n  a.b: {}\n", "3:8", "has no value"),
        ("source: a\nrow: [a.c]\nfields: {a.b: /x}\n", "2:6", "'row' names 'a.c'"),
        ("source: a\nsource: b\n", "2:1", "duplicate key"),
        ("source: a\nfields: [\n", "3:1", "flow"),
        ("[a]", "1:1", "is a mapping"),
    ],
)
def test_what_is_wrong_is_reported_with_its_place(text: str, position: str, message: str) -> None:
    """File, line and column, as for rules."""
    with pytest.raises(BadInput) as raised:
        read_mapping(SourceFile("m.yaml", text))

    assert raised.value.messages[0].startswith(f"m.yaml:{position}: error")
    assert message in raised.value.messages[0]


def test_all_errors_come_together() -> None:
    """One pass finds them."""
    with pytest.raises(BadInput) as raised:
        read_mapping(SourceFile("m.yaml", "source: a\nfields: {a.b: x, a.c: y}\nother: 1\n"))

    assert len(raised.value.messages) == 3
    assert "a.b" not in FIELDS
