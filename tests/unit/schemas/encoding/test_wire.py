import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import ALERT_FORMAT, Alert, decode_alert, encode_alert
from schemas.encoding.batch import EVENT_BATCH_FORMAT, EVENT_BATCH_SCHEMA, decode_batch, encode_batch
from schemas.encoding.wire import (
    HEADER_SIZE,
    BadSchema,
    MessageFormat,
    UnreadableMessage,
    checked_schema,
    header_of,
    registry_header,
    single_object_header,
)
from tests.golden.batches import GOLDEN, batch_0_1, golden_path
from tests.unit.schemas.batches import same


def changed(schema: dict[str, Any], *, without: str = "", further: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a schema of another release: one field is missing, one is added in front."""
    fields = [each for each in schema["fields"] if each["name"] != without]
    return {**schema, "fields": [*([further] if further else []), *fields]}


MORE = changed(EVENT_BATCH_SCHEMA, further={"name": "colour", "type": ["null", "string"], "default": None})
LESS = changed(EVENT_BATCH_SCHEMA, without="stopping")


@pytest.mark.parametrize("schema", [MORE, LESS])
def test_a_message_of_another_release_becomes_one_of_ours(schema: dict[str, Any]) -> None:
    """Unknown fields are dropped, and missing fields get their defaults."""
    other = MessageFormat(schema)
    datum = EVENT_BATCH_FORMAT.decode(encode_batch(batch_0_1()))
    message = other.encode({**datum, "colour": "red"})

    with pytest.raises(UnreadableMessage, match=f"unknown schema: fingerprint {other.header[2:].hex()}"):
        EVENT_BATCH_FORMAT.decode(message)
    ours = EVENT_BATCH_FORMAT.translated(message[HEADER_SIZE:], checked_schema(json.dumps(schema)))
    assert ours == encode_batch(batch_0_1())
    assert decode_batch(ours).stopping is False


@pytest.mark.parametrize("column", ["c_cpu", "p_tty"])
def test_a_column_that_was_not_written_is_empty(column: str) -> None:
    """The default of a bytes field is bytes, although the schema holds a string."""
    schema = changed(EVENT_BATCH_SCHEMA, without=column)
    datum = EVENT_BATCH_FORMAT.decode(encode_batch(batch_0_1()))
    message = MessageFormat(schema).encode(datum)

    ours = EVENT_BATCH_FORMAT.translated(message[HEADER_SIZE:], checked_schema(json.dumps(schema)))
    assert EVENT_BATCH_FORMAT.decode(ours) == {**datum, column: b""}
    decode_batch(ours)


@pytest.mark.parametrize("release", ["0.1", "0.2"])
def test_a_batch_of_a_former_release_may_come_by_a_registry(release: str) -> None:
    """A message with a registry's id is read by the registry's schema."""
    message = golden_path(release).read_bytes()
    writer = checked_schema(json.dumps(EVENT_BATCH_FORMAT.known[message[:HEADER_SIZE]]))

    assert same(decode_batch(EVENT_BATCH_FORMAT.translated(message[HEADER_SIZE:], writer)), GOLDEN[release]())


@pytest.mark.parametrize("release", GOLDEN)
def test_a_former_release_is_read_as_it_wrote_whatever_names_its_schema(release: str) -> None:
    """Messages of earlier releases keep their own schema, also under a registry's id."""
    golden = golden_path(release).read_bytes()
    writer = checked_schema(json.dumps(EVENT_BATCH_FORMAT.known[header_of(golden)]))
    assert EVENT_BATCH_FORMAT.translated(golden[HEADER_SIZE:], writer) == golden


def test_an_alert_of_a_release_to_come_is_read() -> None:
    """The new field of a later release is dropped."""
    schema = changed(ALERT_FORMAT.schema, further={"name": "mood", "type": "string"})
    alert = Alert("i", 1, "r", "Notice", "text", {"fd.ino": 3, "fd.name": "/x", "n": None, "t": ("a",)})
    other = MessageFormat(schema)
    message = other.encode({**ALERT_FORMAT.decode(encode_alert(alert)), "mood": "good"})

    assert decode_alert(ALERT_FORMAT.translated(message[HEADER_SIZE:], checked_schema(json.dumps(schema)))) == alert


def test_a_message_of_another_kind_is_named() -> None:
    """The error for an alert on the events topic names its type."""
    with pytest.raises(UnreadableMessage, match=r"it is a lanner\.Alert, not a lanner\.EventBatch"):
        EVENT_BATCH_FORMAT.translated(b"", checked_schema(json.dumps(ALERT_FORMAT.schema)))


@pytest.mark.parametrize(
    ("data", "size"), [(b"", 0), (b"\xc3", 0), (b"\xc3\x02" + bytes(20), 0), (b"\0\0\0\0", 0), (b"{}", 0)]
)
def test_other_beginnings_are_none(data: bytes, size: int) -> None:
    """A truncated header is no header."""
    assert len(header_of(data)) == size


def test_beginnings_name_a_schema() -> None:
    """Fingerprints and registry ids are described differently."""
    assert header_of(encode_batch(batch_0_1())) == single_object_header(EVENT_BATCH_SCHEMA)
    assert header_of(registry_header(258) + b"x") == b"\0\0\0\1\2"


def record(*fields: Any, name: str = "A") -> dict[str, Any]:
    """Return a record schema with fields of these types."""
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{number}", "type": each} for number, each in enumerate(fields)],
    }


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (record({"type": "array", "items": "null"}), "null outside of a union"),
        (record({"type": "map", "values": record(name="B")}), "a record without fields"),
        (record({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}), "a fixed type of zero bytes"),
        (record(["null", "A"]), "type A is recursive"),
        (record("Missing"), "is recursive or not defined"),
        (record([]), "an empty union"),
        (record(*["int"] * 6000), "too many or too deeply nested types"),
        (json.loads('{"type": "array", "items": ' * 40 + '"int"' + "}" * 40), "too many or too deeply nested types"),
        (record({"type": "map"}), "not an Avro schema"),
        (record({**record("int", name="x.B"), "type": "record"}, record("int", name="y.B")), "two types named B"),
        (["int", record("int")], "not a record schema"),
        ("long", "not a record schema"),
        ("nonsense", "is recursive or not defined"),
    ],
)
def test_a_schema_that_could_harm_is_refused(schema: Any, reason: str) -> None:
    """Schemas that allow tiny messages with billions of items, or endless types, are rejected."""
    with pytest.raises(BadSchema, match=reason):
        checked_schema(json.dumps(schema))


@pytest.mark.parametrize("text", ["", "[", "null", "7", "[" * 100_000, "x" * 300_000, '{"type": {"type": 7}}'])
def test_what_is_no_schema_is_refused(text: str) -> None:
    """Invalid text raises nothing but BadSchema."""
    with pytest.raises(BadSchema):
        checked_schema(text)


def types() -> st.SearchStrategy[Any]:
    """Return a strategy for Avro types, including those of Lanner's fields."""
    own = [each["type"] for each in EVENT_BATCH_SCHEMA["fields"]]
    simple = ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "lanner.Process", "Container"]
    names = st.sampled_from(["A", "B", "x.A", "lanner.Process", "Container"])
    return st.recursive(
        st.sampled_from([*simple, *own]),
        lambda inner: st.one_of(
            st.builds(lambda each: {"type": "array", "items": each}, inner),
            st.builds(lambda each: {"type": "map", "values": each}, inner),
            st.lists(inner, max_size=3),
            st.builds(lambda name, size: {"type": "fixed", "name": name, "size": size}, names, st.integers(-1, 9)),
            st.builds(lambda name: {"type": "enum", "name": name, "symbols": ["X", "Y"]}, names),
            st.builds(lambda name, each: record(*each, name=name), names, st.lists(inner, max_size=3)),
        ),
        max_leaves=6,
    )


@given(
    st.dictionaries(st.sampled_from([each["name"] for each in EVENT_BATCH_SCHEMA["fields"]]), types(), max_size=4),
    st.one_of(st.binary(max_size=200), st.just(encode_batch(batch_0_1())[HEADER_SIZE:])),
    st.integers(0, 2000),
)
def test_no_schema_of_a_writer_makes_reading_raise_anything_else(
    changes: dict[str, Any], datum: bytes, stored: int
) -> None:
    """A message with an arbitrary valid schema is translated or rejected with a reason."""
    fields = [{"name": each["name"], "type": changes.get(each["name"], each["type"])} for each in MORE["fields"]]
    with contextlib.suppress(BadSchema):
        writer = checked_schema(json.dumps({**EVENT_BATCH_SCHEMA, "fields": fields}))
        for data in (datum, datum[:stored]):
            with contextlib.suppress(UnreadableMessage):
                assert header_of(EVENT_BATCH_FORMAT.translated(data, writer)) in EVENT_BATCH_FORMAT.known
