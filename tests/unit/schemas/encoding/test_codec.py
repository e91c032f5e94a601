import io
import tracemalloc
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batch import EVENT_COLUMNS, EventBatch, Process
from schemas.encoding.batch import (
    EVENT_BATCH_FORMAT,
    EVENT_BATCH_SCHEMA,
    HEADER,
    BadBatch,
    decode_batch,
    decode_datum,
    encode_batch,
)
from schemas.encoding.columns import PROCESS_COLUMNS
from tests.golden.batches import GOLDEN, batch_0_1, golden_path
from tests.unit.schemas.batches import batches, read_everything, same

SCHEMA = fastavro.parse_schema(EVENT_BATCH_SCHEMA)
SAMPLE = encode_batch(batch_0_1())
FORMER = golden_path("0.2").read_bytes()
FORMER_SCHEMA: Any = EVENT_BATCH_FORMAT.known[FORMER[: len(HEADER)]]
COLUMN_FIELDS = [
    field["name"]
    for field in EVENT_BATCH_SCHEMA["fields"]
    if field["name"].startswith(("c_", "p_")) or field["name"] in ("texts", "text_lengths")
]
MEBIBYTE = 1 << 20
Change = Callable[[dict[str, Any]], object]


def altered(change: Change, sample: bytes = SAMPLE, schema: Any = SCHEMA) -> bytes:
    """Return the encoded sample with one change to its datum."""
    datum: Any = fastavro.schemaless_reader(io.BytesIO(sample[len(HEADER) :]), schema, None)
    change(datum)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, datum)
    return sample[: len(HEADER)] + out.getvalue()


def put(column: str, code: str, *values: int) -> Change:
    """Return a change of a column."""
    return lambda datum: datum.update({f"c_{column}": array(code, values).tobytes()})


def put_process(index: int, **facts: int) -> Change:
    """Return a change of one of the sample's two rows of processes."""

    def change(datum: dict[str, Any]) -> None:
        for name, value in facts.items():
            code = PROCESS_COLUMNS[name]
            column = array(code, datum[f"p_{name}"] or bytes(2 * array(code).itemsize))
            column[index] = value
            datum[f"p_{name}"] = column.tobytes()

    return change


def put_rows(column: str, *values: int) -> Change:
    """Return a change of a column of processes."""
    return lambda datum: datum.update({f"p_{column}": array(PROCESS_COLUMNS[column], values).tobytes()})


def put_lengths(*values: int) -> Change:
    """Return a change of the lengths of the texts."""
    return lambda datum: datum.update(text_lengths=array("I", values).tobytes())


def put_former(index: int, **facts: object) -> Change:
    """Return a change of a row of processes in the former layout."""
    return lambda datum: datum["processes"][index].update(facts)


def put_container(**facts: object) -> Change:
    """Return a change of the row of the container."""
    return lambda datum: datum["containers"][0].update(facts)


class TestRoundTrip:
    @settings(deadline=None)
    @given(batches())
    def test_any_batch_comes_back(self, batch: EventBatch) -> None:
        """Undecodable bytes and 64-bit numbers survive a round trip."""
        found = decode_batch(encode_batch(batch))

        assert same(found, batch)
        read_everything(found)

    @settings(deadline=None)
    @given(batches())
    def test_a_batch_that_is_passed_on_stays_the_same(self, batch: EventBatch) -> None:
        """Encoding a decoded batch gives the same bytes."""
        encoded = encode_batch(batch)

        assert encode_batch(decode_batch(encoded)) == encoded

    def test_a_lone_surrogate_becomes_a_question_mark(self) -> None:
        """A lone surrogate from JSON is replaced; the batch is not lost."""
        batch = replace(batch_0_1(), processes=[Process(pid=1, name="a\ud800b"), Process(pid=2)])
        found = decode_batch(encode_batch(batch))

        assert found.processes[0].name == "a?b"

    @pytest.mark.parametrize(("name", "expected"), [("web\udcff", "web\ufffd"), ("web\ud800", "web?")])
    def test_a_host_may_be_called_anything(self, name: str, expected: str) -> None:
        """An undecodable host name does not prevent its batches from being sent."""
        assert decode_batch(encode_batch(replace(batch_0_1(), hostname=name))).hostname == expected

    def test_a_batch_without_events_comes_back(self) -> None:
        """A batch without events, which is sent every 15 s, survives a round trip."""
        columns: dict[str, Any] = {name: array(code) for name, code in EVENT_COLUMNS.items()}
        columns |= {
            "arg_start": array("I", [0]),
            "arg_name": array("i"),
            "arg_value": array("i"),
            "arg_raw": array("q"),
        }
        batch = replace(batch_0_1(), count=0, strings=[None], processes=[], containers=[], columns=columns)

        assert same(decode_batch(encode_batch(batch)), batch)

    def test_a_column_of_zeros_takes_no_room(self) -> None:
        """A column of zeros is encoded as no bytes."""
        batch = batch_0_1()
        quiet = replace(batch, columns={**batch.columns, "buffer": array("i", [0] * batch.count)})

        assert len(encode_batch(quiet)) == len(SAMPLE) - 4 * batch.count
        assert list(decode_batch(encode_batch(quiet)).columns["buffer"]) == [0] * batch.count

    @pytest.mark.parametrize("release", GOLDEN)
    def test_a_golden_batch_decodes_for_ever(self, release: str) -> None:
        """Batches of every earlier release are decoded."""
        found = decode_batch(golden_path(release).read_bytes())

        assert same(found, GOLDEN[release]())
        read_everything(found)


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "neither Avro single-object encoding nor"),
            (b"{}", "neither Avro single-object encoding nor"),
            (b"\0\0\0\0\1" + SAMPLE, "id 1 of the schema registry"),
            (HEADER[:2] + bytes(8) + SAMPLE[10:], "unknown schema: fingerprint 0000"),
            (HEADER, "not decodable"),
            (SAMPLE + b"\0", "1 extra bytes at its end"),
        ],
    )
    def test_what_is_no_batch_is_named(self, data: bytes, reason: str) -> None:
        """The error message gives the reason, for the dead letter."""
        with pytest.raises(BadBatch, match=reason):
            decode_batch(data)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            # counts
            (lambda datum: datum.update(count=-1), "-1 events in one batch"),
            (lambda datum: datum.update(count=100_001), "100001 events in one batch"),
            (lambda datum: datum.update(count=4), "column time has 24 bytes, not 32"),
            (lambda datum: datum.update(count=2), "column time has 24 bytes, not 16"),
            # texts
            (put_lengths(), "the column of text lengths has 0 bytes"),
            (lambda datum: datum.update(text_lengths=bytes(7)), "the column of text lengths has 7 bytes"),
            (put_lengths(0, 1, 2), "the texts have [0-9]+ bytes, but their lengths add up to 3"),
            (
                put_lengths(0, 2**32 - 1, 2**32 - 1),
                "the texts have [0-9]+ bytes, but their lengths add up to 8589934590",
            ),
            (lambda datum: put_lengths(len(datum["texts"]))(datum), "text 0 is not empty"),
            (lambda datum: datum.update(texts=datum["texts"] + b"x"), "the texts have [0-9]+ bytes, but their"),
            # columns
            (lambda datum: datum.update(c_time=bytes(23)), "column time has 23 bytes, not 24"),
            (put("type", "i", 1, 6, 23 + 100), "column type points outside its table"),
            (put("type", "i", 1, 6, -1), "column type points outside its table"),
            (put("buffer", "i", -(2**31), 0, 0), "column buffer points outside its table"),
            (put("process", "i", 0, 1, 2), "column process points outside its table"),
            (put("process", "i", 0, 1, -1), "column process points outside its table"),
            (
                lambda datum: datum.update({f"p_{name}": b"" for name in PROCESS_COLUMNS}),
                "column process points outside its table",
            ),
            # arguments
            (put("arg_start", "I", 1, 1, 1, 2), "arg_start does not begin with 0"),
            (put("arg_start", "I", 0, 2, 1, 2), "arg_start decreases"),
            (put("arg_start", "I", 0, 1, 2), "column arg_start has 12 bytes, not 16"),
            (put("arg_start", "I", 0, 1, 1, 3), "column arg_name has 8 bytes, not 12"),
            (put("arg_start", "I", 0, 1, 1, 1), "column arg_name has 8 bytes, not 4"),
            (put("arg_start", "I", 0, 1, 1, 2**32 - 1), "arg_start has a number that is too large"),
            (put("arg_start", "I", 0, 1, 1, 65), "arg_start decreases, or has too large a step"),
            (put("arg_raw", "q", 1), "column arg_raw has 8 bytes, not 16"),
            (put("arg_name", "i", 0, 1000), "column arg_name points outside its table"),
            (put("arg_value", "i", 0, -1), "column arg_value points outside its table"),
            # processes
            (put_process(1, parent=1), "process 1 points outside its tables"),
            (put_process(1, parent=-2), "process 1 points outside its tables"),
            (put_process(0, parent=0), "process 0 points outside its tables"),
            (put_process(1, container=1), "process 1 points outside its tables"),
            (put_process(1, container=-2), "process 1 points outside its tables"),
            (put_process(1, session_leader=2), "process 1 has a leader outside its table"),
            (put_process(1, group_leader=-2), "process 1 has a leader outside its table"),
            (put_process(0, parent=-(2**31)), "process 0 points outside its tables"),
            (put_process(0, name=-1), "column p_name points outside its table"),
            (put_process(0, name=1000), "column p_name points outside its table"),
            (put_process(1, shell=2**20), "column p_shell points outside its table"),
            (put_rows("args", 1, -1), "column p_args points outside its table"),
            (put_rows("env", 1000), "column p_env points outside its table"),
            (put_rows("args", 1), "column p_args has 4 bytes for 2 texts"),
            (put_rows("arg_count", 0, 3), "column p_args has 8 bytes for 3 texts"),
            (put_rows("env_count", 2**32 - 1, 2**32 - 1), "column p_env has 4 bytes for 8589934590 texts"),
            (put_rows("known", 1 << 24, 0), "process 0 has unknown bits in its mask of known attributes"),
            (put_rows("pid"), "column p_ppid has 16 bytes, not 0"),
            (put_rows("pid", 1), "column p_ppid has 16 bytes, not 8"),
            (lambda datum: datum.update(p_pid=bytes(17)), "column p_pid has 17 bytes, not 16"),
            (lambda datum: datum.update(p_name=bytes(7)), "column p_name has 7 bytes, not 8"),
            (lambda datum: datum.update(p_pid=bytes(8 * 100_001)), "100001 processes in one batch"),
            (lambda datum: datum.update(strings=[b"", b"a"]), "tables of two layouts in one batch"),
            (lambda datum: datum.update(processes=[{"pid": 1}]), "tables of two layouts in one batch"),
            # containers
            (put_container(id=-1), "string -1 is outside the table"),
            (put_container(image=1000), "out of range"),
            (put_container(labels=[1, 2, 3]), "zip"),
            (put_container(pod_labels=[1, 1000]), "out of range"),
            (
                put_container(mounts=[{"source": -1, "dest": 0, "mode": 0, "rw": True, "propagation": 0}]),
                "string -1 is outside the table",
            ),
        ],
    )
    def test_parts_that_contradict_each_other_are_refused(self, change: Change, reason: str) -> None:
        """Contradictory parts are rejected, because no later code checks them."""
        with pytest.raises(BadBatch, match=reason):
            decode_batch(altered(change))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda datum: datum.update(strings=[]), "0 strings in one batch"),
            (put("type", "i", 1, 6, -1), "column type points outside its table"),
            (lambda datum: datum.update(processes=[]), "column process points outside its table"),
            (put_former(1, parent=1), "process 1 points outside its tables"),
            (put_former(1, parent=-2), "process 1 points outside its tables"),
            (put_former(0, parent=0), "process 0 points outside its tables"),
            (put_former(1, container=1), "process 1 points outside its tables"),
            (put_former(1, container=-2), "process 1 points outside its tables"),
            (put_former(1, session_leader=2), "process 1 has a leader outside its table"),
            (put_former(1, group_leader=-2), "process 1 has a leader outside its table"),
            (put_former(0, name=-1), "string -1 is outside the table"),
            (put_former(0, name=1000), "out of range"),
            (put_former(0, args=[1, -1]), "string -1 is outside the table"),
            (put_former(0, env=[1000]), "out of range"),
        ],
    )
    def test_the_layout_before_is_looked_at_as_closely(self, change: Change, reason: str) -> None:
        """The former layout is checked as strictly, because an attacker may choose it."""
        with pytest.raises(BadBatch, match=reason):
            decode_batch(altered(change, FORMER, FORMER_SCHEMA))

    @pytest.mark.parametrize(("sample", "schema"), [(SAMPLE, SCHEMA), (FORMER, FORMER_SCHEMA)])
    def test_what_was_not_changed_is_not_refused(self, sample: bytes, schema: Any) -> None:
        """The unchanged sample is valid, so each case above fails for its own reason."""
        assert decode_batch(altered(lambda _: None, sample, schema)).processes == batch_0_1().processes

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(COLUMN_FIELDS), st.integers(0, 400), st.integers(0, 255)), max_size=5),
        st.tuples(st.sampled_from(COLUMN_FIELDS), st.integers(-16, 16)),
    )
    def test_columns_with_bytes_changed_are_a_batch_or_refused(
        self, changes: list[tuple[str, int, int]], longer: tuple[str, int]
    ) -> None:
        """Random changes of decoded values raise only BadBatch."""

        def change(datum: dict[str, Any]) -> None:
            for name, index, value in changes:
                if datum[name]:
                    data = bytearray(datum[name])
                    data[index % len(data)] = value
                    datum[name] = bytes(data)
            name, length = longer
            datum[name] = datum[name][:length] if length < 0 else datum[name] + bytes(length // 4 * 4)

        try:
            read_everything(decode_batch(altered(change)))
        except BadBatch:
            return

    def test_a_batch_that_is_cut_off_anywhere_is_refused(self) -> None:
        """A truncated batch is rejected."""
        for length in range(len(SAMPLE)):
            with pytest.raises(BadBatch):
                decode_batch(SAMPLE[:length])

    def test_a_batch_with_any_byte_changed_is_a_batch_or_refused(self) -> None:
        """A batch that decodes has only valid indices."""
        for index in range(len(HEADER), len(SAMPLE)):
            for value in (0x00, 0x01, 0x7F, 0x80, 0xFF):
                data = bytearray(SAMPLE)
                data[index] = value
                try:
                    read_everything(decode_batch(bytes(data)))
                except BadBatch:
                    continue

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(10, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=20))
    def test_a_batch_with_many_bytes_changed_is_a_batch_or_refused(self, changes: list[tuple[int, int]]) -> None:
        """Several changes at once give a valid batch or BadBatch."""
        data = bytearray(SAMPLE)
        for index, value in changes:
            data[index] = value
        try:
            read_everything(decode_batch(bytes(data)))
        except BadBatch:
            return

    @pytest.mark.parametrize("name", COLUMN_FIELDS)
    @pytest.mark.parametrize("kind", ["string", None])
    def test_a_writer_that_has_a_column_otherwise_or_not_at_all(self, name: str, kind: str | None) -> None:
        """Avro resolves a string as bytes, and a missing field as its default."""
        others = [{"name": name, "type": kind}] if kind else []
        others += [each for each in EVENT_BATCH_SCHEMA["fields"] if each["name"] != name]
        writer = fastavro.parse_schema({**EVENT_BATCH_SCHEMA, "fields": others})
        out = io.BytesIO()
        datum: Any = fastavro.schemaless_reader(io.BytesIO(SAMPLE[len(HEADER) :]), SCHEMA, None)
        fastavro.schemaless_writer(out, writer, {**datum, name: "a" * len(datum[name])})
        try:
            read_everything(decode_datum(out.getvalue(), writer))
        except BadBatch:
            return

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_batch_or_refused(self, data: bytes) -> None:
        """Decoding raises nothing but BadBatch."""
        for decode in (decode_batch, decode_datum, lambda data: decode_batch(HEADER + data)):
            with pytest.raises(BadBatch):
                decode(data)

    @pytest.mark.parametrize(
        "change",
        [
            put("arg_start", "I", 0, 0, 0, 2**32 - 1),
            lambda datum: datum.update(count=100_000),
            lambda datum: datum.update(count=2**31 - 1),
        ],
        ids=["arguments", "most events", "events"],
    )
    def test_a_small_batch_cannot_claim_much_memory(self, change: Change) -> None:
        """Empty columns mean zeros for every event, so the number of events is limited."""

        def hollow(datum: dict[str, Any]) -> None:
            datum.update({name: b"" for name in datum if name.startswith("c_")})
            change(datum)

        data = altered(hollow)
        tracemalloc.start()
        try:
            decode_batch(data)
        except BadBatch:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert len(data) < 10_000
        assert peak < 32 * MEBIBYTE

    @pytest.mark.parametrize("length", [2**40, 2**62, -1, -(2**62)])
    def test_a_length_that_lies_is_refused_at_once(self, length: int) -> None:
        """An enormous length of the first text is rejected without allocating it."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, "long", length)

        with pytest.raises(BadBatch, match="not decodable"):
            decode_batch(HEADER + out.getvalue() + b"abc")
