"""Makes one gRPC call on a unix socket, with the h2 library.

A connection per call costs about a millisecond, and no connection has to be maintained. The grpcio library
would cost the collector more memory than everything that it knows of containers.
"""

from collections.abc import Iterable
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from collector.containers.protocol import ContainerNotFound, RuntimeConnection, RuntimeUnavailable
from collector.containers.values import ResponseTooLarge

_CHUNK = 1 << 16
_PREFIX = 5
"""Bytes in front of a message: whether it is compressed, and its length."""
_OK, _NOT_FOUND, _RESOURCE_EXHAUSTED = "0", "5", "8"


def call(
    path: Path,
    method: str,
    request: bytes,
    timeout: float,
    metadata: Iterable[tuple[str, str]] = (),
    *,
    is_configured: bool = False,
) -> bytes:
    """Call a method that takes one message and returns one.

    Args:
        path: the socket.
        method: such as /runtime.v1.RuntimeService/Version.
        request: the encoded request.
        timeout: seconds for the whole call.
        metadata: further headers.
        is_configured: whether the operator named the socket; only root may have made another one.

    Returns:
        The encoded response.

    Raises:
        ContainerNotFound: the server has no such object.
        RuntimeUnavailable: the server can't be reached, doesn't respond in time, refuses or breaks the protocol.
        ResponseTooLarge: the response has more bytes than are read, or than the server sends.

    Source: gRPC over HTTP2 in the grpc repository's doc/PROTOCOL-HTTP2.md.
    """
    try:
        with RuntimeConnection.to(path, timeout, is_configured=is_configured) as connection:
            return _exchange(connection, method, request, metadata)
    except (OSError, ProtocolError, UnicodeDecodeError) as error:
        raise RuntimeUnavailable(f"{path}: {method}: {error or type(error).__name__}") from error


def _exchange(connection: RuntimeConnection, method: str, request: bytes, metadata: Iterable[tuple[str, str]]) -> bytes:
    http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http.initiate_connection()
    stream = http.get_next_available_stream_id()
    sent = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost"}
    sent |= {"te": "trailers", "content-type": "application/grpc", **dict(metadata)}
    http.send_headers(stream, list(sent.items()))
    http.send_data(stream, b"\0" + len(request).to_bytes(4, "big") + request, end_stream=True)
    headers: dict[str, str] = {}
    answer = bytearray()
    is_over = False
    while not is_over:
        connection.sendall(http.data_to_send())
        if not (data := connection.recv(_CHUNK)):
            raise ProtocolError("the server closed the connection")
        for event in http.receive_data(data):
            if isinstance(event, ResponseReceived | TrailersReceived):
                headers |= {_text(name): _text(value) for name, value in event.headers}
            elif isinstance(event, DataReceived):
                answer += event.data
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamReset | ConnectionTerminated):
                raise ProtocolError(f"the server ended the call with error code {event.error_code}")
            is_over |= isinstance(event, StreamEnded)
    status, reason = headers.get("grpc-status"), headers.get("grpc-message", "")[:200]
    if status == _NOT_FOUND:
        raise ContainerNotFound(f"{method}: {reason}")
    if status == _RESOURCE_EXHAUSTED:
        raise ResponseTooLarge(f"{method}: {reason}")
    if status != _OK or answer[:1] != b"\0" or len(answer) < _PREFIX:
        raise ProtocolError(f"gRPC status {status} {reason}".strip())
    return bytes(answer[_PREFIX:])


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
