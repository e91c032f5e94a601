import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from lanner.operations.server import TEXT, Answer, Server


def failing() -> Answer:
    """Raise, as a fault of ours would."""
    raise KeyError("x")


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server that answers."""
    made = Server("127.0.0.1", 0, {"/good": lambda: (200, TEXT, b"fine\n"), "/fault": failing})
    made.start()
    yield made
    made.stop()


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Ask for a page."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_pages_are_answered_and_nothing_else(server: Server) -> None:
    """Another path is told what there is; another method is not known."""
    assert ask(server, "/good?x=1") == (200, b"fine\n")
    assert ask(server, "/good", "HEAD") == (200, b"")
    assert ask(server, "/../etc/passwd") == (404, b"there is nothing here; there are: /good /fault\n")
    assert ask(server, "/good", "POST")[0] == 501


def test_a_fault_is_told_and_the_server_goes_on(server: Server) -> None:
    """Whoever looks must not be left without an answer."""
    assert ask(server, "/fault") == (500, b"a fault in Lanner itself: KeyError('x')\n")
    assert ask(server, "/good")[0] == 200


def test_many_slow_clients_hold_neither_threads_nor_the_server(server: Server) -> None:
    """Sixteen are taken at a time, and each is cut off after five seconds however slowly it sends."""
    before = threading.active_count()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    began = time.monotonic()
    answered = None
    while answered is None and time.monotonic() - began < 15:
        for each in slow:
            try:
                each.sendall(b"G")
            except OSError:
                continue
        assert threading.active_count() <= before + 16
        try:
            answered = ask(server, "/good")
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
    for each in slow:
        each.close()
    assert answered == (200, b"fine\n")


def test_a_port_that_is_taken_is_an_error(server: Server) -> None:
    """It is never shared with another process."""
    with pytest.raises(OSError, match="in use"):
        Server("127.0.0.1", server.port, {})
