from dataclasses import replace

import pytest
from hypothesis import given

from schemas.batch import EventBatch
from schemas.encoding.batch import EVENT_BATCH_FORMAT, BadBatch, decode_head, encode_batch, head_of
from tests.golden.batches import GOLDEN, batch_0_1, golden_path
from tests.unit.schemas.batches import batches


@given(batches())
def test_the_head_is_that_of_the_whole_batch(batch: EventBatch) -> None:
    """Decoded alone, it has the same values."""
    assert decode_head(encode_batch(batch)) == head_of(batch)


@pytest.mark.parametrize("release", GOLDEN)
def test_heads_of_earlier_releases_are_read(release: str) -> None:
    """A collector may be older than the console."""
    assert decode_head(golden_path(release).read_bytes()).host_id


@pytest.mark.parametrize("data", [b"", b"nonsense", encode_batch(batch_0_1())[:40], b"\xc3\x01" + b"\0" * 8])
def test_what_is_no_batch_is_refused(data: bytes) -> None:
    """Truncated heads and foreign bytes have no values."""
    with pytest.raises(BadBatch):
        decode_head(data)


def test_values_out_of_range_are_refused() -> None:
    """As in a whole batch."""
    with pytest.raises(BadBatch, match="lost"):
        decode_head(encode_batch(replace(batch_0_1(), lost={"ring": -1})))


@given(batches())
def test_a_batch_is_encoded_as_by_its_schema(batch: EventBatch) -> None:
    """Its columns are written without the schema, which must not show."""
    encoded = encode_batch(batch)
    assert EVENT_BATCH_FORMAT.encode(EVENT_BATCH_FORMAT.decode(encoded)) == encoded
