"""Whether a broker takes connections, and retries while it doesn't; for every client.

A command that a person waits for finds out within seconds; the client library retries for much longer, because
services must outlast a restart of the broker. `bus.clients.errors` lists the errors that are not retried. Refused
messages are not handled here.
"""

import json
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer

from bus.connection import BusUnavailable, Connection
from foundation.errors import LannerError
from foundation.text import OnNote, ignore_note
from foundation.throttling import Backoff

PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_DEFAULT_PORT = 9092

STATISTICS_MS = 5_000
STALLED_SECONDS = 60.0
"""How long a client may have no connection before another one is made. While the broker is away, that does no harm."""
FORGOTTEN_SECONDS = 4.0
"""The same for a client that no longer knows a broker. Two reports in a row must show it: it may be reconnecting."""
_GROUPS = "logical"
"""The "source" of an entry for a group's coordinator, which is no broker. Source: librdkafka's STATISTICS.md."""
REMIND_SECONDS = 60.0
_BACKOFF = Backoff(first=0.1, most=5.0)
Found = TypeVar("Found")


def check_reachable(connection: Connection, patience: float = PATIENCE_SECONDS) -> None:
    """Connect to the brokers in turn until one takes the connection; nothing is sent.

    Args:
        connection: which brokers.
        patience: how long to try, s.

    Addresses that can't be read are left to the client library, which reports them.

    Raises:
        BusUnavailable: none takes connections; with the reason of the last attempt.
    """
    end = time.monotonic() + patience
    addresses = [address for text in connection.bootstrap_servers.split(",") if (address := _address(text))]
    reason = ""
    if not addresses:
        return
    while True:
        for number, address in enumerate(addresses):
            # Each of the others gets its share, even if this one drops packets.
            share = max((end - time.monotonic()) / (len(addresses) - number), 0.1)
            try:
                socket.create_connection(address, share).close()
            except OSError as error:
                reason = error.strerror or str(error) or type(error).__name__
            else:
                return
        if time.monotonic() + _PAUSE_SECONDS >= end:
            break
        time.sleep(_PAUSE_SECONDS)
    raise BusUnavailable(
        f"no answer from a broker at {connection.bootstrap_servers} ({reason})",
        "check kafka.bootstrap_servers, and that the broker is running",
    )


def _address(text: str) -> tuple[str, int] | None:
    """Return host and port of `[PROTOCOL://]HOST[:PORT]`; None for other texts."""
    plain = text.strip().rpartition("://")[2]
    host, colon, port = plain.rpartition(":")
    if not colon or plain.endswith("]"):
        host, port = plain, str(_DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    return (host, int(port)) if host and port.isascii() and port.isdigit() and int(port) < 1 << 16 else None


class ConnectionState:
    """The connections of one client after the other."""

    def __init__(
        self,
        on_statistics: Callable[[Mapping[str, Any]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a connection.

        Args:
            on_statistics: also receives the statistics. Source: librdkafka's STATISTICS.md.
            clock: returns seconds.
        """
        self.is_connected = False
        """True if a broker was connected some seconds ago."""
        self._on_statistics = on_statistics
        self._clock = clock
        self._lost_since: float | None = None
        self._knows_brokers = True

    @property
    def options(self) -> dict[str, Any]:
        """The client's settings that make it report its statistics here."""
        return {"statistics.interval.ms": STATISTICS_MS, "stats_cb": self._report}

    @property
    def is_stalled(self) -> bool:
        """True if another client has to be made; call `renewed` once that is done."""
        if self._lost_since is None:
            return False
        return self._clock() - self._lost_since > (STALLED_SECONDS if self._knows_brokers else FORGOTTEN_SECONDS)

    def renewed(self) -> None:
        """Record that there is another client, which has as long to connect."""
        self.is_connected = False
        self._knows_brokers = True
        self._lost_since = self._clock()

    def _report(self, text: str) -> None:
        statistics = json.loads(text)
        brokers = statistics["brokers"].values()
        self.is_connected = any(each["state"] == "UP" for each in brokers)
        self._knows_brokers = any(each["source"] != _GROUPS for each in brokers)
        if self.is_connected:
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = self._clock()
        self._on_statistics(statistics)


def close_aside(consumer: Consumer) -> None:
    """Close a client on a thread of its own: it may wait for brokers that it can't reach."""
    threading.Thread(target=consumer.close, name="lanner-close", daemon=True).start()


class Stopped(LannerError):
    """The process ends before the broker was available again."""


class Outage:
    """Reports an outage when it begins, at most once a minute while it lasts, and when it ends."""

    def __init__(
        self, waiting: str, on_note: OnNote, clock: Callable[[], float] = time.monotonic, *, of: str = "the broker"
    ) -> None:
        """Start without an outage.

        Args:
            waiting: what is blocked meanwhile, as the subject of a sentence.
            on_note: receives each report.
            clock: returns seconds.
            of: what is unavailable.
        """
        self._waiting = waiting
        self._on_note = on_note
        self._clock = clock
        self._of = of
        self._since: float | None = None
        self._report_at = 0.0

    def goes_on(self, reason: object) -> None:
        """Record a failure."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now < self._report_at:
            return
        self._report_at = now + REMIND_SECONDS
        lasting = f" (for {now - self._since:.0f} s so far)" if now > self._since else ""
        self._on_note(f"{reason}. {self._waiting} is waiting{lasting}.", "warning")

    def is_over(self) -> None:
        """Record that it answers."""
        if self._since is not None:
            lasted, self._since = self._clock() - self._since, None
            self._on_note(f"{self._of} answers again: {self._waiting} continues after {lasted:.1f} s.")


class Retry:
    """Decides after each failure whether to retry, and how long to wait."""

    def __init__(
        self,
        waiting: str,
        on_note: OnNote = ignore_note,
        *,
        most_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        of: str = "the broker",
    ) -> None:
        """Start without failures.

        Args:
            waiting: what is blocked meanwhile, as the subject of a sentence.
            on_note: receives messages for the operator.
            most_seconds: when to give up and raise the last failure; infinite for services.
            clock: returns seconds.
            draw: returns a random number from 0 to 1.
            of: what is unavailable.
        """
        self._outage = Outage(waiting, on_note, clock, of=of)
        self._most_seconds = most_seconds
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._since = 0.0
        self._vain_since: float | None = None

    def failed(self, error: BusUnavailable) -> float:
        """Record a failure.

        Returns:
            Seconds to wait before the next attempt.

        Raises:
            BusUnavailable: the same error, if it is fatal or time is up.
        """
        now = self._clock()
        if not self._failures:
            self._since = now
        if error.patience == math.inf:
            self._vain_since = None
        elif self._vain_since is None:
            self._vain_since = now
        is_vain = self._vain_since is not None and now - self._vain_since >= error.patience
        if is_vain or now - self._since >= self._most_seconds:
            raise error
        self._failures += 1
        self._outage.goes_on(error)
        return _BACKOFF.seconds(self._failures, None, self._draw())

    def waits(self, reason: BusUnavailable) -> None:
        """Report that work is blocked although no attempt has failed yet."""
        self._outage.goes_on(reason)

    def succeeded(self) -> None:
        """Record a success."""
        self._failures = 0
        self._vain_since = None
        self._outage.is_over()


def persist(attempt: Callable[[], Found], retry: Retry, stop: threading.Event | None = None) -> Found:
    """Call a function until it succeeds; blocks.

    Args:
        attempt: raises BusUnavailable if it fails.
        retry: decides how long to retry.
        stop: ends the waiting; None if only a signal ends it.

    Raises:
        BusUnavailable: the error is fatal, or time is up.
        Stopped: `stop` was set.
    """
    ending = stop or threading.Event()
    while True:
        try:
            found = attempt()
        except BusUnavailable as error:
            if ending.wait(retry.failed(error)):
                raise Stopped from None
        else:
            retry.succeeded()
            return found
