import asyncio
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from bus.clients.availability import Outage, Retry, Stopped, check_reachable, persist
from bus.clients.event_loop import persist_async
from bus.connection import BusUnavailable, Connection
from tests.notes import into

AWAY = BusUnavailable("no answer from a broker at kafka-1", "check that it runs")
SHUT_OUT = BusUnavailable("the broker refused the credentials", "check the password", patience=10)
FORBIDDEN = BusUnavailable("the broker denies access", "grant this user its rights", patience=0)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_an_outage_is_reported_when_it_begins_once_a_minute_and_when_it_is_over() -> None:
    """Ten failures per second for three minutes are reported in three lines, and the end in one more."""
    clock, notes = Clock(), list[str]()
    outage = Outage("Reading", into(notes), clock)
    for _ in range(1800):
        outage.goes_on("no answer")
        clock.now += 0.1
    outage.is_over()
    outage.is_over()
    assert notes == [
        "warning: no answer. Reading is waiting.",
        "warning: no answer. Reading is waiting (for 60 s so far).",
        "warning: no answer. Reading is waiting (for 120 s so far).",
        "the broker answers again: Reading continues after 180.0 s.",
    ]


def test_waits_grow_up_to_five_seconds_and_differ() -> None:
    """Waits have jitter, and a success resets them."""
    for draw, expected in ((0.0, (0.05, 0.1, 0.2, 2.5)), (1.0, (0.1, 0.2, 0.4, 5.0))):
        retry = Retry("", clock=Clock(), draw=lambda draw=draw: draw)  # type: ignore[misc]
        waits = [retry.failed(AWAY) for _ in range(40)]
        assert [*waits[:3], waits[-1]] == pytest.approx(expected)
        retry.succeeded()
        assert retry.failed(AWAY) == pytest.approx(expected[0])


def test_a_broker_that_is_away_is_waited_for_without_end() -> None:
    """A retriable error is retried for a day."""
    clock = Clock()
    retry = Retry("", clock=clock)
    for _ in range(24 * 60):
        retry.failed(AWAY)
        clock.now += 60


def test_what_is_forbidden_is_not_waited_for() -> None:
    """A fatal error is raised at once, also during an outage."""
    retry = Retry("", clock=Clock())
    retry.failed(AWAY)
    with pytest.raises(BusUnavailable, match="denies"):
        retry.failed(FORBIDDEN)


def test_an_answer_that_may_pass_is_raised_when_it_lasts() -> None:
    """Wrong credentials are retried for ten seconds; an unavailable broker in between restarts that time."""
    clock = Clock()
    retry = Retry("", clock=clock)
    retry.failed(SHUT_OUT)
    clock.now += 9.9
    retry.failed(SHUT_OUT)
    retry.failed(AWAY)
    clock.now += 5
    retry.failed(SHUT_OUT)
    clock.now += 9.9
    retry.failed(SHUT_OUT)
    clock.now += 0.1
    with pytest.raises(BusUnavailable, match="credentials"):
        retry.failed(SHUT_OUT)


def test_a_command_waits_for_a_bounded_time() -> None:
    """After the limit, the newest error is raised."""
    clock = Clock()
    retry = Retry("", most_seconds=15, clock=clock)
    retry.failed(AWAY)
    clock.now += 14.9
    retry.failed(AWAY)
    clock.now += 0.1
    with pytest.raises(BusUnavailable, match="no answer"):
        retry.failed(AWAY)


class Comes:
    """A function that succeeds at the third attempt."""

    def __init__(self) -> None:
        self.attempts = 0

    def __call__(self) -> int:
        """Make an attempt."""
        self.attempts += 1
        if self.attempts < 3:
            raise AWAY
        return self.attempts

    async def later(self) -> int:
        """Make an attempt on an event loop."""
        return self()


def test_what_works_at_last_gives_its_result() -> None:
    """Both variants retry until the call succeeds."""
    notes: list[str] = []
    assert persist(Comes(), Retry("Work", into(notes))) == 3
    assert asyncio.run(persist_async(Comes().later, Retry("Work", into(notes)))) == 3
    assert [note.partition(":")[0] for note in notes] == ["warning", "the broker answers again"] * 2


def test_waiting_ends_with_the_process() -> None:
    """An event stops a waiting thread; cancellation stops a waiting task."""

    def away() -> int:
        raise AWAY

    async def away_later() -> int:
        raise AWAY

    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Stopped):
        persist(away, Retry(""), stop)

    async def cancelled() -> bool:
        task = asyncio.create_task(persist_async(away_later, Retry("")))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(cancelled())


def test_an_error_that_reports_nothing_of_patience_is_waited_out() -> None:
    """Only listed errors are fatal; all others are retried."""
    assert BusUnavailable("x", "y").patience == math.inf


@contextmanager
def listener(family: socket.AddressFamily, host: str) -> Iterator[int]:
    """Listen on a free port."""
    with closing(socket.socket(family)) as server:
        server.bind((host, 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """Return a port on which nobody listens."""
    with listener(socket.AF_INET, "127.0.0.1") as port:
        return port


def test_one_broker_that_takes_connections_is_enough(closed: int) -> None:
    """The others may be down; addresses have the forms that the client library takes."""
    with listener(socket.AF_INET, "127.0.0.1") as port:
        for servers in (f"127.0.0.1:{port}", f"127.0.0.1:{closed}, PLAINTEXT://127.0.0.1:{port}"):
            check_reachable(Connection(bootstrap_servers=servers), patience=2)
    with listener(socket.AF_INET6, "::1") as port:
        check_reachable(Connection(bootstrap_servers=f"[::1]:{port}"), patience=2)


def test_a_broker_that_refuses_is_reported_within_the_patience(closed: int) -> None:
    """The message names the setting, the addresses and the reason."""
    began = time.monotonic()
    with pytest.raises(BusUnavailable) as caught:
        check_reachable(Connection(bootstrap_servers=f"127.0.0.1:{closed}"), patience=0.5)

    assert time.monotonic() - began < 5
    assert caught.value.reason == f"no answer from a broker at 127.0.0.1:{closed} (Connection refused)"
    assert "kafka.bootstrap_servers" in caught.value.remedy


def test_a_broker_that_starts_meanwhile_is_found(closed: int) -> None:
    """A refused connection is tried again."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", closed))
        with pytest.raises(BusUnavailable):
            check_reachable(Connection(bootstrap_servers=f"127.0.0.1:{closed}"), patience=0.1)
        server.listen()
        check_reachable(Connection(bootstrap_servers=f"127.0.0.1:{closed}"), patience=2)


def test_addresses_that_can_not_be_read_are_left_to_the_client_library() -> None:
    """It reports them with the setting's name."""
    check_reachable(Connection(bootstrap_servers="kafka:port"), patience=0.1)
