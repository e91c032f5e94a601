"""Finds out within seconds whether a broker takes connections, for commands that a person waits for.

The client library retries for much longer, because services must outlast a restart of the broker.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer

from bus.connection import BusUnavailable, Connection

PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_DEFAULT_PORT = 9092


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


STATISTICS_MS = 5_000
STALLED_SECONDS = 60.0
"""How long a client may have no connection before another one is made. While the broker is away, that does no harm."""
FORGOTTEN_SECONDS = 4.0
"""The same for a client that no longer knows a broker. Two reports in a row must show it: it may be reconnecting."""
_GROUPS = "logical"
"""The "source" of an entry for a group's coordinator, which is no broker. Source: librdkafka's STATISTICS.md."""


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
