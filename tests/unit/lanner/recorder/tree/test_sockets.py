import pytest

from lanner.recorder.tree.activity import SocketPair, socket_of, ssh_socket
from tests.unit.processor.batches import batch_of

PAIR = SocketPair("10.0.0.1", 41234, "10.0.0.2", 22)


def test_each_end_sees_the_other_ones_pair() -> None:
    """Mirrored twice, it is the same again."""
    assert PAIR.mirrored == SocketPair("10.0.0.2", 22, "10.0.0.1", 41234)
    assert PAIR.mirrored.mirrored == PAIR


@pytest.mark.parametrize(
    ("addresses", "is_loopback"),
    [(("10.0.0.1", "10.0.0.2"), False), (("127.0.0.1", "127.0.0.1"), True), (("::1", "::1"), True), (("?", "x"), True)],
)
def test_loopback_is_within_a_host(addresses: tuple[str, str], is_loopback: bool) -> None:
    """And so is what is not an address."""
    assert SocketPair(addresses[0], 1, addresses[1], 2).is_loopback == is_loopback


def test_an_event_with_both_ends_has_a_pair() -> None:
    """In the form that both ends state; one without a port of its own has none."""
    ends = {"local_ip": "::ffff:10.0.0.1", "remote_ip": "::ffff:10.0.0.2", "local_port": 41234, "remote_port": 22}
    batch = batch_of({"type": "connect", **ends}, {"type": "connect", **ends, "local_port": -1}, {"type": "openat"})
    assert [socket_of(batch, index) for index in range(3)] == [PAIR, None, None]


@pytest.mark.parametrize(
    "environment", [None, (), ("SSH_CONNECTION=",), ("SSH_CONNECTION=a b",), ("SSH_CONNECTION=a x b \u0662",)]
)
def test_what_is_no_connection_of_ssh_is_none(environment: tuple[str, ...] | None) -> None:
    """Programs set their variables themselves."""
    assert ssh_socket(environment) is None


def test_the_variable_of_ssh_names_the_client_first() -> None:
    """The pair is that of the server."""
    assert ssh_socket(("A=b", "SSH_CONNECTION=10.0.0.2 22 10.0.0.1 41234")) == PAIR
