"""Finds out within seconds whether a broker takes connections, for commands that a person waits for.

The client library retries for much longer, because services must outlast a restart of the broker.
"""

import socket
import time

from bus.connection import Connection
from bus.errors.unavailable import BusUnavailable

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
