import asyncio
import os
import select
import signal
import threading

import pytest

from lanner.process.signals import HANDLED, Signals, call_on_stop

WAKE_UPS = 2000
"""More than fit into the pipe by which other threads wake a loop."""


@pytest.fixture(autouse=True)
def _handlers() -> object:
    """Restore the handlers of the test process."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_signal_does_not_interrupt_a_shutdown() -> None:
    """It is ignored once the work has ended."""
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)

    assert signals.stop
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_command_that_works_on_can_be_stopped_again() -> None:
    """The handlers of before are back, also after a signal."""
    before = signal.getsignal(signal.SIGINT)

    with Signals(restores=True) as signals:
        signal.raise_signal(signal.SIGINT)

    assert signals.stop
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_not_lost_while_the_loop_is_busy(number: signal.Signals) -> None:
    """Other threads wake the loop hundreds of times before it looks."""

    async def stopped() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        call_on_stop(loop, stopping.set)

        def wake() -> None:
            for _ in range(WAKE_UPS):
                loop.call_soon_threadsafe(lambda: None)
            os.kill(os.getpid(), number)

        thread = threading.Thread(target=wake)
        thread.start()
        # The loop is busy until all that has happened.
        thread.join()
        async with asyncio.timeout(5):
            await stopping.wait()

    asyncio.run(stopped())


def test_a_signal_after_the_end_is_ignored() -> None:
    """The loop is closed by then."""
    loop = asyncio.new_event_loop()
    call_on_stop(loop, lambda: None)
    loop.close()
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_a_wait_of_the_main_loop() -> None:
    """Also one that another thread receives, until the loop has looked at the signals."""
    with Signals(restores=True) as signals:
        poll = select.poll()
        poll.register(signals.descriptor, select.POLLIN)

        assert not poll.poll(0)
        for _ in range(2):
            thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGHUP))
            thread.start()
            assert poll.poll(20_000)
            thread.join()
            signals.drain()
            assert signals.take_reload()
            assert not poll.poll(0)

    assert signal.set_wakeup_fd(-1) == -1
