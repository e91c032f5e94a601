import asyncio
from typing import Any

from bus.connection import Connection
from collector.kubernetes.service import PodWriter
from foundation.text import ignore_note
from tests.unit.collector.kubernetes.test_index import ALL, index_of


class Sent:
    """Takes messages instead of a broker."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.answers: list[asyncio.Future[int]] = []

    async def send(self, _: str, key: bytes, *__: Any) -> "asyncio.Future[int]":
        """Take a message; its answer is left open."""
        self.keys.append(key)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


def writer_of(may_write: list[bool]) -> PodWriter:
    """Return a writer with one record to write. may_write: the answers to its questions, the last one is repeated."""
    index = index_of(*ALL)
    index.mark_changed("p-1")

    def next_answer() -> bool:
        return may_write.pop(0) if len(may_write) > 1 else may_write[0]

    return PodWriter(
        *(Connection(), index, asyncio.Event()),
        cluster="",
        delay=300,
        may_write=next_answer,
        on_written=lambda: None,
        on_note=ignore_note,
    )


def test_nothing_is_written_without_the_lease() -> None:
    """The loop stays free, so that the lease can be renewed; the record is written later."""

    async def test() -> None:
        sent: Any = Sent()
        for answers in ([False], [True, False]):
            writer = writer_of(answers)
            assert not await writer._turn(sent)
            assert sent.keys == []
            answers[:] = [True]
            assert await writer._turn(sent)
            assert sent.keys == [b"p-1"]
            sent.keys.clear()

    asyncio.run(test())


def test_a_message_that_fails_is_written_again_after_a_pause() -> None:
    """A broker that refuses everything is not asked a thousand times a second."""

    async def test() -> None:
        sent: Any = Sent()
        writer = writer_of([True])
        await writer._turn(sent)
        sent.answers[0].set_exception(RuntimeError("refused"))
        await asyncio.sleep(0)
        assert not await writer._turn(sent)
        writer._paused_until = 0
        assert await writer._turn(sent)
        assert sent.keys == [b"p-1", b"p-1"]

    asyncio.run(test())
