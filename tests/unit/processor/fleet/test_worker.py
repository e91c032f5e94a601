import asyncio

import pytest

from processor.fleet.worker import within


async def _ignoring_cancellation(until: asyncio.Event) -> None:
    while not until.is_set():
        try:
            await until.wait()
        except asyncio.CancelledError:
            continue


def test_work_that_ignores_its_cancellation_holds_nothing_up() -> None:
    """Faust's commit does while the broker is away."""

    async def stop() -> bool:
        until = asyncio.Event()
        is_done = await within(0.01, _ignoring_cancellation(until))
        until.set()
        return is_done

    assert not asyncio.run(stop())


def test_an_error_of_the_work_is_raised() -> None:
    """The caller reports it."""

    async def fail() -> None:
        raise ValueError("broken")

    async def stop() -> bool:
        return await within(5, fail())

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(stop())
