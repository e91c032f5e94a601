import copy
import os
import stat
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batch import EventBatch
from schemas.encoding.batch import EVENT_BATCH_SCHEMA, HEADER, BadBatch, encode_batch
from schemas.encoding.recording import RecordingWriter, read_recording
from schemas.encoding.wire import HEADER_SIZE
from tests.golden.batches import batch_0_1
from tests.unit.schemas.batches import same

BATCHES = [replace(batch_0_1(), sequence=sequence) for sequence in range(3)]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a recording of three batches."""
    path = tmp_path / "events.avro"
    write(path, BATCHES)
    return path


def write(path: Path, batches: list[EventBatch]) -> None:
    """Write batches to a recording."""
    writer = RecordingWriter(path)
    for batch in batches:
        writer.write(encode_batch(batch))
    writer.close()


def test_a_recording_gives_back_its_batches_in_order(recording: Path) -> None:
    """Batches are read as they were written."""
    found = list(read_recording(recording))

    assert len(found) == len(BATCHES)
    assert all(map(same, found, BATCHES))


def test_an_empty_recording_has_no_batches(tmp_path: Path) -> None:
    """A recording without batches is valid."""
    write(tmp_path / "events.avro", [])

    assert list(read_recording(tmp_path / "events.avro")) == []


def test_a_batch_can_be_read_while_the_recording_goes_on(tmp_path: Path) -> None:
    """Each batch is written immediately, so a crash loses at most the last one."""
    writer = RecordingWriter(tmp_path / "events.avro")
    writer.write(encode_batch(BATCHES[0]))

    assert [batch.sequence for batch in read_recording(tmp_path / "events.avro")] == [0]
    writer.close()


def test_any_avro_tool_opens_a_recording(recording: Path) -> None:
    """Another Avro reader can read the recording."""
    with recording.open("rb") as file:
        reader = fastavro.reader(file)
        rows: list[Any] = list(reader)

    assert reader.codec == "deflate"
    assert [row["sequence"] for row in rows] == [0, 1, 2]
    assert rows[0]["texts"].startswith(b"openat")


def test_a_recording_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Only the owner may read the file, even if it replaced a world-readable one."""
    old = tmp_path / "old.avro"
    old.write_text("something")
    old.chmod(0o644)
    umask = os.umask(0)
    try:
        write(tmp_path / "new.avro", [])
        write(old, [])
    finally:
        os.umask(umask)

    assert stat.S_IMODE((tmp_path / "new.avro").stat().st_mode) == 0o600
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_a_recording_replaces_what_was_there(recording: Path) -> None:
    """An existing file is replaced completely."""
    write(recording, BATCHES[:1])

    assert [batch.sequence for batch in read_recording(recording)] == [0]


def test_a_recording_does_not_follow_a_link(tmp_path: Path) -> None:
    """A symbolic link is not followed, since root may record in a world-writable directory."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "events.avro").symlink_to(target)

    with pytest.raises(OSError, match="symbolic links"):
        RecordingWriter(tmp_path / "events.avro")
    assert target.read_text() == "precious"


def test_a_device_keeps_its_mode() -> None:
    """/dev/null is accepted and keeps its mode."""
    before = Path("/dev/null").stat().st_mode
    write(Path("/dev/null"), BATCHES)

    assert Path("/dev/null").stat().st_mode == before


def test_a_recording_that_is_cut_off_gives_what_came_before(recording: Path, tmp_path: Path) -> None:
    """A truncated recording raises BadBatch, unless it was cut between two batches."""
    whole = recording.read_bytes()
    ends = []
    for count in range(len(BATCHES) + 1):
        write(tmp_path / "part", BATCHES[:count])
        ends.append((tmp_path / "part").stat().st_size)
    cut = tmp_path / "cut.avro"
    assert ends[-1] == len(whole)
    # The last batch counts: everything that could be distinguished at its beginning and end, and a sample in between.
    for length in (
        *range(ends[-2], ends[-2] + 30),
        *range(ends[-2] + 30, ends[-1] - 30, 41),
        *range(ends[-1] - 30, ends[-1] + 1),
    ):
        cut.write_bytes(whole[:length])
        found, error = read_until_error(cut)
        assert [batch.sequence for batch in found] == list(range(sum(length >= end for end in ends[1:])))
        assert (error is None) == (length in ends), length


def test_a_recording_whose_beginning_is_cut_off_is_none(tmp_path: Path) -> None:
    """A file that is cut within its header raises BadBatch."""
    write(tmp_path / "empty", [])
    head = (tmp_path / "empty").read_bytes()
    cut = tmp_path / "cut.avro"
    for length in (*range(0, len(head) - 20, 211), *range(len(head) - 20, len(head))):
        cut.write_bytes(head[:length])
        found, error = read_until_error(cut)
        assert not found
        assert error is not None
        assert str(cut) in str(error)


@pytest.mark.parametrize("content", [b"", b"not Avro\n", b"Obj\1", b"\0" * 5000, HEADER + bytes(100)])
def test_what_is_no_avro_file_is_reported(tmp_path: Path, content: bytes) -> None:
    """The error names the path."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(BadBatch, match=str(path)):
        list(read_recording(path))


@pytest.mark.parametrize(
    "schema",
    [
        "long",
        {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "long"}]},
        {"type": "record", "name": "EventBatch", "fields": [{"name": "a", "type": "long"}]},
    ],
)
def test_an_avro_file_of_something_else_is_reported(tmp_path: Path, schema: Any) -> None:
    """An Avro file of another record type is rejected by its full name."""
    path = tmp_path / "other.avro"
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), [])

    with pytest.raises(BadBatch, match="an Avro file, but it does not hold event batches"):
        list(read_recording(path))


def test_a_recording_of_another_release_is_read_by_its_own_schema(tmp_path: Path) -> None:
    """Recordings of another release are read: missing fields get defaults, unknown ones are dropped."""
    older = copy.deepcopy(EVENT_BATCH_SCHEMA)
    older["fields"] = [each for each in older["fields"] if each["name"] not in ("interest_version", "c_buffer")]
    older["fields"].insert(2, {"name": "mood", "type": "string", "default": "good"})
    path = tmp_path / "older.avro"
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(older), rows_of(tmp_path), codec="deflate", sync_interval=1)

    found = list(read_recording(path))

    assert [batch.sequence for batch in found] == [0, 1, 2]
    assert (found[0].interest_version, found[0].hostname) == ("", "web-1")
    assert list(found[0].columns["buffer"]) == [0, 0, 0]
    assert found[0].processes == BATCHES[0].processes


def test_a_block_of_two_batches_is_refused(tmp_path: Path) -> None:
    """A block with several batches is an error; batches are not dropped silently."""
    path = tmp_path / "together.avro"
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(EVENT_BATCH_SCHEMA), rows_of(tmp_path), sync_interval=1 << 20)

    with pytest.raises(BadBatch, match="a block of 3 messages; Lanner writes one in each"):
        list(read_recording(path))


def test_a_small_recording_can_not_claim_much_memory(tmp_path: Path) -> None:
    """What it claims is checked before it is read, and no message decompresses to more than a limit."""
    path = tmp_path / "bomb.avro"
    writer = RecordingWriter(path)
    writer.write(bytes(HEADER_SIZE + (64 << 20)))
    writer.close()
    whole = path.read_bytes()
    claims = tmp_path / "claims.avro"
    claims.write_bytes(b"Obj\x01" + b"\x02\x16avro.schema" + b"\xfe" * 8 + b"\x7f")
    long = tmp_path / "long.avro"
    end = whole.index(whole[-16:]) + 16
    long.write_bytes(whole[:end] + b"\x02" + b"\xfe" * 8 + b"\x7f" + whole[-16:])
    other = tmp_path / "other.avro"
    with other.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(EVENT_BATCH_SCHEMA), [], codec="xz")

    tracemalloc.start()
    try:
        for each, problem in (
            (path, "a message has more than 8,388,608 bytes"),
            (claims, "a value claims .* bytes; at most 4,194,304 are read"),
            (long, "a value claims .* bytes; at most 8,388,608 are read"),
            (other, "its codec is xz; only deflate is read"),
        ):
            with pytest.raises(BadBatch, match=problem):
                list(read_recording(each))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def rows_of(tmp_path: Path) -> list[Any]:
    """Return the batches as another Avro reader decodes them."""
    write(tmp_path / "rows", BATCHES)
    with (tmp_path / "rows").open("rb") as file:
        return list(fastavro.reader(file))


def read_until_error(path: Path) -> tuple[list[EventBatch], BadBatch | None]:
    """Return the readable batches, and the error at the end if there is one."""
    found = []
    try:
        for batch in read_recording(path):
            found.append(batch)  # noqa: PERF402 (what came before an error counts)
    except BadBatch as error:
        return found, error
    return found, None


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_recording_with_bytes_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Reading raises nothing but BadBatch."""
    path = tmp_path_factory.mktemp("recording") / "events.avro"
    write(path, BATCHES[:1])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)

    read_until_error(path)
