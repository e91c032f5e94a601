import asyncio

from lanner.console.server.live import LiveHub
from lanner.console.workers import SECONDS, RecentAnswers, WorkLimit
from lanner.errors import TooManyAtOnce


def test_pages_that_ask_for_the_same_share_the_answer() -> None:
    """Also if the first one goes away; another version or a later time gives another answer."""
    now = [0.0]
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    async def ask() -> list[int]:
        recent = RecentAnswers(lambda: now[0])
        first = asyncio.create_task(recent.get(("a", 1), make))
        await asyncio.sleep(0)
        first.cancel()
        found = list(await asyncio.gather(*(recent.get(("a", 1), make) for _ in range(5))))
        found.append(await recent.get(("a", 2), make))
        now[0] += SECONDS
        found.append(await recent.get(("a", 1), make))
        return found

    assert asyncio.run(ask()) == [1, 1, 1, 1, 1, 2, 3]


def test_listeners_are_notified_together_and_at_most_once_a_second() -> None:
    """Many batches in a second are one event; a decision is one at once."""

    async def listen() -> tuple[list[bytes], list[bytes], int]:
        hub = LiveHub()
        hub.open()
        streams = [hub.stream("alice"), hub.stream("bob")]
        seen: list[list[bytes]] = [[], []]

        async def collect(number: int) -> None:
            async for part in streams[number]:
                seen[number].append(part)

        tasks = [asyncio.create_task(collect(number)) for number in range(2)]
        await asyncio.sleep(0.01)
        for _ in range(10):
            hub.publish(3)
            await asyncio.sleep(0.02)
        version = hub.version
        hub.notify()
        await asyncio.sleep(0.01)
        await hub.close()
        await asyncio.gather(*tasks)
        return seen[0], seen[1], version

    first, second, version = asyncio.run(listen())
    assert version == 1
    assert first == second
    assert [b'"added": 3' in part for part in first] == [False, True, False]
    assert b'"added": 27' in first[2]


def test_work_is_limited_for_all_and_for_one_client() -> None:
    """Some waits, and begins when a thread is free; more is refused, and what gives up waiting does not count."""

    async def work() -> list[str]:
        limit = WorkLimit(at_once=1, waiting=1, of_client=1, busy="busy", own="own")
        seen: list[str] = []

        async def take(client: str) -> None:
            try:
                await limit.take(client)
                seen.append(client)
            except TooManyAtOnce as error:
                seen.append(f"{client}: {error}")

        await take("a")
        await take("a")
        gone = asyncio.create_task(take("b"))
        await asyncio.sleep(0)
        await take("c")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        waiting = asyncio.create_task(take("b"))
        await asyncio.sleep(0)
        limit.release("a")
        await waiting
        limit.close()
        limit.release("b")
        await take("a")
        return seen

    assert asyncio.run(work()) == ["a", "a: own", "c: busy", "b", "a: busy"]
