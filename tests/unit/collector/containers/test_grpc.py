import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from collector.containers import protocol
from collector.containers.grpc import call as call_path
from collector.containers.protocol import ContainerNotFound, RuntimeUnavailable
from collector.containers.values import ResponseTooLarge

call = partial(call_path, is_configured=True)
"""The test's sockets are in folders that others than root may change."""
METHOD = "/runtime.v1.RuntimeService/Version"
Respond = Callable[[H2Connection, int, dict[str, str]], None]


@contextmanager
def server(path: Path, respond: Respond | None) -> Iterator[None]:
    """Serve HTTP/2 on a unix socket until the end of the block; None never responds."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                _serve(connection, respond)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _serve(connection: socket.socket, respond: Respond | None) -> None:
    http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    http.initiate_connection()
    headers: dict[str, str] = {}
    try:
        connection.sendall(http.data_to_send())
        while data := connection.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = {str(key): str(value) for key, value in event.headers}
                elif isinstance(event, StreamEnded) and respond is not None and event.stream_id is not None:
                    respond(http, event.stream_id, headers)
            connection.sendall(http.data_to_send())
    except (OSError, ProtocolError):
        return


def responding(message: bytes, status: str = "0", trailer: str = "") -> Respond:
    """Return a handler that sends a message and trailers."""

    def respond(http: H2Connection, stream: int, _: dict[str, str]) -> None:
        http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        data = b"\0" + len(message).to_bytes(4, "big") + message if message else b""
        for begin in range(0, len(data), 16_000):
            http.send_data(stream, data[begin : begin + 16_000])
        http.send_headers(stream, [("grpc-status", status), ("grpc-message", trailer)], end_stream=True)

    return respond


def test_the_response_to_a_call_is_returned(tmp_path: Path) -> None:
    """With the metadata that containerd takes its namespace from."""
    seen: list[dict[str, str]] = []

    def respond(http: H2Connection, stream: int, headers: dict[str, str]) -> None:
        seen.append(headers)
        responding(b"answer")(http, stream, headers)

    with server(tmp_path / "s", respond):
        assert call(tmp_path / "s", METHOD, b"request", 5, [("containerd-namespace", "default")]) == b"answer"

    assert seen[0][":path"] == METHOD
    assert seen[0]["containerd-namespace"] == "default"


def test_what_the_server_does_not_have_is_not_found(tmp_path: Path) -> None:
    """Status 5, with the server's reason."""
    with (
        server(tmp_path / "s", responding(b"", "5", "no such sandbox")),
        pytest.raises(ContainerNotFound, match="no such sandbox"),
    ):
        call(tmp_path / "s", METHOD, b"", 5)


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (responding(b"", "12", "unknown service"), "gRPC status 12 unknown service"),
        (responding(b"", "0"), "gRPC status 0"),
        (lambda http, stream, _: http.reset_stream(stream, 8), "error code 8"),
        (lambda http, stream, _: http.send_headers(stream, [(":status", "500")], end_stream=True), "gRPC status None"),
        (None, "timed out"),
    ],
)
def test_a_server_that_fails_is_unavailable(tmp_path: Path, respond: Respond | None, reason: str) -> None:
    """It refuses, sends nothing, resets, isn't gRPC, or never responds."""
    with server(tmp_path / "s", respond), pytest.raises(RuntimeUnavailable, match=reason):
        call(tmp_path / "s", METHOD, b"", 0.3)


def test_an_answer_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that was taken over can't fill the collector's memory."""

    def respond(http: H2Connection, stream: int, _: dict[str, str]) -> None:
        http.send_headers(stream, [(":status", "200")])
        for _ in range(3):
            http.send_data(stream, b"x" * 16_000)

    monkeypatch.setattr(protocol, "_MAX_RECEIVED", 40_000)
    with server(tmp_path / "s", respond), pytest.raises(ResponseTooLarge, match="more than"):
        call(tmp_path / "s", METHOD, b"", 5)


def test_an_answer_that_the_server_itself_refuses_is_too_large(tmp_path: Path) -> None:
    """Containerd sends at most 16 MiB."""
    with (
        server(tmp_path / "s", responding(b"", "8", "larger than max")),
        pytest.raises(ResponseTooLarge, match="larger"),
    ):
        call(tmp_path / "s", METHOD, b"", 5)


def test_bytes_that_are_not_http2_are_unavailable(tmp_path: Path) -> None:
    """Another program may listen there."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"SSH-2.0-x\r\n" * 100)
            connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener, pytest.raises(RuntimeUnavailable):
        call(tmp_path / "s", METHOD, b"", 5)


def test_a_missing_socket_is_unavailable(tmp_path: Path) -> None:
    """The reason names it."""
    with pytest.raises(RuntimeUnavailable, match="none"):
        call(tmp_path / "none", METHOD, b"", 1)
