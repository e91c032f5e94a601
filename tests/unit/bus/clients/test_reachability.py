import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from bus.clients.reachability import check_reachable
from bus.connection import BusUnavailable, Connection


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
