"""What a fetch gives, with aiokafka's own records and codecs."""

import gzip
import random
import struct
from typing import Any

import aiokafka
import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from processor.fleet.kafka.fetched import (
    MAX_BATCH_BYTES,
    MAX_FETCH_BYTES,
    Admission,
    BoundedRecords,
    ReadOrder,
    UnreadableRecord,
    use_bounded_records,
)

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEAD = struct.Struct(">qiibIhiqqqhii")

NONSENSE = {
    "gzip that ends too early": (1, gzip.compress(bytes(100))[:-9]),
    "no gzip": (1, b"none"),
    "no snappy": (2, b"\xff" * 40),
    "snappy whose blocks go backwards": (2, b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + struct.pack(">i", -4) + b"x" * 8),
    "no lz4": (3, b"none"),
    "no zstd": (4, b"none"),
    "a codec that is none": (7, b"none"),
    "records that are none": (0, b"\x02" * 30),
}
TAKE, SKIP, SEEK = Admission.TAKE, Admission.SKIP, Admission.SEEK


def batch(*values: bytes, codec: int = 0, offset: int = 0, headers: Any = ()) -> bytes:
    """Encode a batch of records as a producer does, at an offset as a broker does."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for index, value in enumerate(values):
        assert builder.append(index, timestamp=1000, key=b"host", value=value, headers=list(headers))
    return struct.pack(">q", offset) + bytes(builder.build())[8:]


def with_records(data: bytes, records: bytes, codec: int) -> bytes:
    """Put other records into a batch, as they would be compressed, and compute its checksum again."""
    head = list(HEAD.unpack_from(data))
    head[1], head[5] = HEAD.size - 12 + len(records), codec
    made = HEAD.pack(*head) + records
    return made[:17] + struct.pack(">I", calc_crc32c(made[21:])) + made[21:]


def partition_records(data: bytes, position: int = 0) -> Any:
    """Return what aiokafka makes of a fetch from a position."""
    arguments = (("t.events", 0), BoundedRecords(data), [], position, None, None, True, fetcher.READ_UNCOMMITTED)
    return fetcher.PartitionRecords(aiokafka.TopicPartition(*arguments[0]), *arguments[1:])


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_what_is_within_bounds_is_read_as_it_was_sent(codec: int) -> None:
    """By every codec, several batches in one fetch, beginning in the middle of one."""
    data = batch(b"a" * 1000, b"b", codec=codec, offset=5, headers=[("lanner_sent", b"1")]) + batch(b"c", offset=7)
    records = partition_records(data, 6)
    assert [(record.offset, record.key, record.value) for record in records] == [(6, b"host", b"b"), (7, b"host", b"c")]
    assert next(record.headers for record in partition_records(data, 5)) == (("lanner_sent", b"1"),)
    assert records.next_fetch_offset == 8


@given(st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=4), max_size=4), st.sampled_from([0, 1, 2, 3, 4]))
def test_a_fetch_gives_what_aiokafka_alone_would(batches: list[list[bytes]], codec: int) -> None:
    """Offsets, keys, values and times."""
    data, offset = b"", 0
    for values in batches:
        data += batch(*values, codec=codec, offset=offset)
        offset += len(values)
    plain, found = MemoryRecords(data), []
    while plain.has_next():
        found += [(record.offset, record.value, record.timestamp) for record in plain.next_batch()]
    assert [(record.offset, record.value, record.timestamp) for record in partition_records(data)] == found


def bomb(codec: str, size: int = 64 << 20) -> bytes:
    """Compress zeros."""
    encode = {"gzip": gzip_encode, "snappy": snappy_encode, "lz4": lz4_encode, "zstd": zstd_encode}[codec]
    return bytes(encode(bytes(size)))


BOMBS = {
    **{codec: (CODECS[codec], bomb(codec)) for codec in ("gzip", "snappy", "lz4", "zstd")},
    "raw snappy": (2, bytes(cramjam.snappy.compress_raw(bytes(64 << 20)))),
    "members of gzip": (1, gzip.compress(bytes(1 << 20)) * 20),
    "frames of lz4": (3, bytes(cramjam.lz4.compress(bytes(1 << 20))) * 20),
    "frames of zstd": (4, bytes(cramjam.zstd.compress(bytes(1 << 20))) * 20),
}


@pytest.mark.parametrize(("codec", "records"), BOMBS.values(), ids=BOMBS)
def test_a_batch_that_decompresses_to_too_much_is_one_record_that_reports_it(codec: int, records: bytes) -> None:
    """What follows it is read; the position goes on behind all of its messages."""
    data = with_records(batch(b"", b"", b"", offset=40), records, codec) + batch(b"next", offset=43)
    found = partition_records(data, 40)
    instead, following = found
    assert isinstance(instead.value, UnreadableRecord)
    assert instead.value.reason == f"messages 40 to 42: its records have more than {MAX_BATCH_BYTES} bytes decompressed"
    assert (instead.offset, instead.key, instead.headers) == (40, None, ())
    assert (following.offset, following.value) == (43, b"next")
    assert found.next_fetch_offset == 44


@pytest.mark.parametrize(("codec", "records"), NONSENSE.values(), ids=NONSENSE)
def test_records_that_cannot_be_read_are_passed_over(codec: int, records: bytes) -> None:
    """Nothing is raised, nothing loops endlessly, and what follows is read."""
    data = with_records(batch(b"", offset=40), records, codec) + batch(b"next", offset=41)
    instead, following = partition_records(data, 40)
    assert isinstance(instead.value, UnreadableRecord)
    assert instead.value.reason
    assert following.value == b"next"


@pytest.mark.parametrize("codec", [0, 4])
def test_a_header_whose_name_is_no_text_costs_the_rest_of_its_batch(codec: int) -> None:
    """Aiokafka raises over it; the messages before it are read, those behind come from the same sender."""
    plain = batch(b"one", b"two", b"three", offset=40, headers=[("name", b"")])[HEAD.size :]
    at = plain.rindex(b"name", 0, plain.rindex(b"name"))
    records = plain[:at] + b"\xff\xfe\xfd\xfc" + plain[at + 4 :]
    data = with_records(batch(b"", b"", b"", offset=40), records if codec == 0 else zstd_encode(records), codec)
    first, instead = partition_records(data, 40)
    assert first.value == b"one"
    assert instead.offset == 41
    assert instead.value.reason.startswith("messages 41 to 42: can't be read: UnicodeDecodeError")


def test_a_message_larger_than_any_client_sends_is_replaced() -> None:
    """It may be within what a batch may hold."""
    large, small = partition_records(batch(bytes(5 << 20), b"next", codec=4))
    assert large.value.reason == f"{(5 << 20) + 4} bytes"
    assert small.value == b"next"


def test_a_compressed_message_of_a_former_format_is_not_looked_into() -> None:
    """Its size can't be known before; no client of ours writes it, and brokers since 4.0 neither."""
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=1 << 20)
    builder.append(0, timestamp=1, key=b"k", value=bytes(1000))
    (instead,) = partition_records(bytes(builder.build()))
    assert "before Kafka 0.11" in instead.value.reason


def test_a_fetch_gives_out_no_more_than_some_megabytes() -> None:
    """The position is just after what was returned: the rest is fetched again."""
    data = b"".join(batch(bytes(3 << 20), codec=4, offset=number) for number in range(20))
    assert len(data) < 20_000
    records = partition_records(data)
    given = sum(len(record.value) for record in records)
    assert MAX_FETCH_BYTES <= given < MAX_FETCH_BYTES + MAX_BATCH_BYTES
    assert records.next_fetch_offset == given // (3 << 20)


def test_aiokafka_reads_by_it_and_looks_for_it_where_it_is_put() -> None:
    """Its consumer makes the records of a fetch by this name, and asks no more of a batch than we have."""
    use_bounded_records()
    assert fetcher.MemoryRecords is BoundedRecords
    assert "MemoryRecords" in fetcher.Fetcher._proc_fetch_request.__code__.co_names


def admissions(order: ReadOrder, *offsets: int, end: int | None = None, now: float = 0.0) -> list[Admission]:
    """Return what to do with each of several messages."""
    return [order.check(offset, end, now) for offset in offsets]


def test_messages_in_order_are_taken_once() -> None:
    """What is delivered a second time is skipped."""
    assert admissions(ReadOrder(5, 0.0), 5, 6, 5, 6, 7, end=8) == [TAKE, TAKE, SKIP, SKIP, TAKE]


def test_missing_messages_are_read_again() -> None:
    """Those behind the gap wait until they come again."""
    order = ReadOrder(5, 0.0)
    assert admissions(order, 8, 9, 10) == [SEEK, SKIP, SKIP]
    assert admissions(order, 5, 6, 7, 8, 9, 10) == [TAKE] * 6


def test_messages_that_the_broker_deleted_are_not_waited_for() -> None:
    """If reading starts at the same one after two seeks, that one is taken."""
    order = ReadOrder(5, 0.0)
    assert admissions(order, 8, 9) == [SEEK, SKIP]
    assert admissions(order, 8) == [SEEK]
    assert admissions(order, 8, 9) == [TAKE, TAKE]


def test_a_seek_without_effect_is_repeated() -> None:
    """Ten seconds later the next message causes another one."""
    order = ReadOrder(0, 0.0)
    assert admissions(order, 3, 4, now=1.0) == [SEEK, SKIP]
    assert admissions(order, 5, now=12.0) == [SEEK]


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    """Its end lies before what was read of the old one."""
    order = ReadOrder(500, 0.0)
    assert admissions(order, 0, 1, end=2) == [TAKE, TAKE]


def test_whatever_is_dropped_on_the_way_each_message_is_taken_once_and_in_order() -> None:
    """Each message may be dropped once, each seek may have no effect, and reading may start again anywhere before."""
    for seed in range(300):
        dice = random.Random(seed)
        order = ReadOrder(0, 0.0)
        droppable = {offset for offset in range(60) if dice.random() < 0.3}
        taken: list[int] = []
        position, now = 0, 0.0
        while order.next < 60:
            now += 1.0
            if position == 60 or dice.random() < 0.02:
                position = dice.randint(0, order.next)
            offset, position = position, position + 1
            if offset in droppable:
                droppable.remove(offset)
                continue
            admission = order.check(offset, 60, now)
            if admission is TAKE:
                taken.append(offset)
            elif admission is SEEK and dice.random() < 0.9:
                position = order.next
        assert taken == list(range(60)), seed


def test_skipped_messages_at_the_end_are_read_again() -> None:
    """No later message shows the gap, so the end of the partition does, after ten seconds without a message."""
    order = ReadOrder(5, 0.0)
    assert admissions(order, 5, now=1.0) == [TAKE]
    assert not order.is_overdue(6, 30.0)
    assert not order.is_overdue(8, 39.0)
    assert order.is_overdue(8, 41.0)
    assert not order.is_overdue(8, 42.0)
    assert admissions(order, 6, 7, now=43.0) == [TAKE, TAKE]
