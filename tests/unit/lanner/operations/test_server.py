import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lanner.operations.server import TEXT, Answer, Server


def failing() -> Answer:
    """Raise, as a bug would."""
    raise KeyError("x")


@pytest.fixture
def server() -> Iterator[Server]:
    """Yield a running server."""
    made = Server("127.0.0.1", 0, {"/good": lambda: (200, TEXT, b"fine\n"), "/fault": failing})
    made.start()
    yield made
    made.stop()


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Request a page."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_pages_are_answered_and_nothing_else(server: Server) -> None:
    """Unknown paths get a list of pages; other methods are rejected."""
    assert ask(server, "/good?x=1") == (200, b"fine\n")
    assert ask(server, "/good", "HEAD") == (200, b"")
    assert ask(server, "/../etc/passwd") == (404, b"not found; pages: /good /fault\n")
    assert ask(server, "/good", "POST")[0] == 501


def test_a_fault_is_reported_and_the_server_goes_on(server: Server) -> None:
    """The client gets an error."""
    assert ask(server, "/fault") == (500, b"internal error; this is a bug in Lanner: KeyError('x')\n")
    assert ask(server, "/good")[0] == 200


def test_slow_clients_are_cut_off(server: Server) -> None:
    """Each is closed after five seconds, however slowly it sends, and none occupies a thread."""
    before = threading.active_count()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    until = time.monotonic() + 15
    left = list(slow)
    while left and time.monotonic() < until:
        for each in list(left):
            try:
                each.sendall(b"G")
            except OSError:
                left.remove(each)
        assert threading.active_count() <= before
        time.sleep(0.1)
    assert not left
    for each in slow:
        each.close()


def test_idle_clients_keep_nobody_out(server: Server) -> None:
    """Forty threads reconnect as soon as they are closed; health checks are still answered."""
    end = threading.Event()

    def hold() -> None:
        while not end.is_set():
            try:
                with socket.create_connection(("127.0.0.1", server.port), timeout=1) as held:
                    held.sendall(b"GET /")
                    held.settimeout(0.2)
                    while not end.is_set():
                        with suppress(TimeoutError):
                            if not held.recv(10):
                                break
            except OSError:
                continue

    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(200)]
    holders = [threading.Thread(target=hold, daemon=True) for _ in range(40)]
    for each in holders:
        each.start()
    try:
        answers = [ask(server, "/good") for _ in range(40)]
    finally:
        end.set()
        for holder in holders:
            holder.join()
        for held in idle:
            held.close()
    assert answers == [(200, b"fine\n")] * 40


def test_a_long_answer_comes_whole_to_a_slow_reader() -> None:
    """The server waits for the reader without delaying others."""
    body = b"x" * (8 << 20)
    made = Server("127.0.0.1", 0, {"/long": lambda: (200, TEXT, body), "/good": lambda: (200, TEXT, b"fine\n")})
    made.start()
    with socket.create_connection(("127.0.0.1", made.port), timeout=5) as reader:
        reader.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ask(made, "/good") == (200, b"fine\n")
        received = b"".join(iter(lambda: reader.recv(1 << 16), b""))
    made.stop()
    assert received.endswith(b"\r\n\r\n" + body)


def test_what_is_no_request_is_refused(server: Server) -> None:
    """A line without method and path gets 400; a request without an end gets nothing."""
    for sent, expected in ((b"nonsense\r\n\r\n", b"HTTP/1.0 400"), (b"x" * 20_000, b"")):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            client.sendall(sent)
            with suppress(ConnectionResetError):
                assert client.recv(12) == expected


def test_a_port_that_is_taken_is_an_error(server: Server) -> None:
    """A port is never shared with another process."""
    with pytest.raises(OSError, match="in use"):
        Server("127.0.0.1", server.port, {})
