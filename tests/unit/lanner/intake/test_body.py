import asyncio
import gzip
from collections.abc import AsyncIterator, Iterable

import pytest

from lanner.intake.body import BadBody, BodyMemory, BodyTooLarge, NoRoom, RequestBody, unpacked

LIMIT = 10_000


async def _chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _read(*parts: bytes, encoding: str = "", memory: BodyMemory | None = None) -> bytes:
    body = RequestBody(memory or BodyMemory(), LIMIT)
    return asyncio.run(body.read(_chunks(parts), encoding))


def test_a_body_is_decompressed_as_it_arrives() -> None:
    """Chunks end anywhere."""
    text = b"[" + b"1," * 4000 + b"1]"
    packed = gzip.compress(text)

    assert _read(*(packed[at : at + 7] for at in range(0, len(packed), 7)), encoding="gzip") == text
    assert _read(text[:5], text[5:], encoding="identity") == text


@pytest.mark.parametrize(
    ("parts", "encoding"),
    [
        ([b"x" * LIMIT, b"x"], ""),
        ([gzip.compress(b" " * 50_000_000, mtime=0)], "gzip"),
        ([gzip.compress(b" " * (LIMIT + 1), mtime=0)], "gzip"),
        ([gzip.compress(b"", mtime=0)] + [b"x" * 5000] * 3, "gzip"),
    ],
)
def test_a_body_is_bounded_before_and_after_decompression(parts: list[bytes], encoding: str) -> None:
    """The rest is not read."""
    with pytest.raises(BodyTooLarge):
        _read(*parts, encoding=encoding)


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"x", mtime=0)[:-1], b"", gzip.compress(b"x", mtime=0) * 2])
def test_what_is_not_one_gzip_stream_is_refused(body: bytes) -> None:
    """A body that was cut must not pass for a shorter one."""
    with pytest.raises(BadBody):
        _read(body, encoding="gzip")


def test_unknown_encodings_are_refused() -> None:
    """An API server sends gzip at most."""
    with pytest.raises(BadBody, match="must be gzip"):
        _read(b"x", encoding="br")


def test_messages_of_a_topic_may_be_compressed() -> None:
    """What is no gzip stream, or too large, is passed on as it is: it becomes a dead letter."""
    packed = gzip.compress(b"x" * LIMIT)
    cut, large = packed[:-1], gzip.compress(b"x" * (LIMIT + 1))

    assert unpacked(packed, LIMIT) == b"x" * LIMIT
    assert [unpacked(each, LIMIT) for each in (b"[]", cut, large, b"\x1f\x8bx")] == [b"[]", cut, large, b"\x1f\x8bx"]


def test_bodies_share_a_limit() -> None:
    """Many clients at once can't make the process hold more; what was answered makes room."""
    memory = BodyMemory(15_000)
    first = RequestBody(memory, LIMIT)
    asyncio.run(first.read(_chunks([b"x" * 9000]), ""))
    second = RequestBody(memory, LIMIT)
    with pytest.raises(NoRoom):
        asyncio.run(second.read(_chunks([b"x" * 5000, b"x" * 4000]), ""))
    second.release()
    assert memory.held == 9000
    first.release()

    assert _read(b"x" * 9000, memory=memory) == b"x" * 9000


def test_bodies_that_arrive_slowly_make_room_for_clients_that_hold_less() -> None:
    """The oldest of the client that holds most; what has arrived stays until it is stored."""

    async def read() -> tuple[list[object], int]:
        memory, go = BodyMemory(15_000), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"x" * 4000
            await go.wait()
            yield b"x"

        bodies = [RequestBody(memory, LIMIT, client) for client in ("slow", "slow", "other")]
        tasks = [asyncio.create_task(each.read(slowly(), "")) for each in bodies]
        await asyncio.sleep(0)
        await RequestBody(memory, LIMIT, "honest").read(_chunks([b"x" * 6000]), "")
        held = memory.held
        with pytest.raises(NoRoom):
            await RequestBody(memory, LIMIT, "other").read(_chunks([b"x" * 6000]), "")
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [len(each) if isinstance(each, bytes) else type(each) for each in found], held

    found, held = asyncio.run(read())
    assert found == [NoRoom, 4001, 4001]
    assert held == 14_000
