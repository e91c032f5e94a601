"""A proxy between client and broker that refuses a message as a broker does that has just restarted."""

import contextlib
import socket
import struct
from collections.abc import Iterator

from tests.cluster.network import Link

_PRODUCE, _FLEXIBLE, _BY_TOPIC_ID = 0, 9, 13
"""Number of the request, and versions of it. Source: Kafka's protocol, ProduceRequest.json."""
_NOT_LEADER = 6
_WAIT_SECONDS = 1.0


class RefusingLink(Link):
    """Forwards everything but one message, which it refuses since the partition has no leader yet.

    The client learns of it once it has sent the next message, or after a second if it sends none before.
    """

    def __init__(self, target: int) -> None:
        """Start forwarding. target: a port on this machine."""
        self._refused: bytes | None = None
        super().__init__(target)

    @property
    def has_refused(self) -> bool:
        """Whether the message was refused."""
        return self._refused is None

    def refuse(self, message: bytes) -> None:
        """Refuse the next request that contains this."""
        self._refused = message

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if sink.getpeername()[1] != self._target:
            super()._pump(source, sink)
            return
        refusal = b""
        with contextlib.suppress(OSError):
            for request in _requests(source):
                if refusal and (not request or _number(request) == _PRODUCE):
                    source.sendall(refusal)
                    source.settimeout(None)
                    refusal = b""
                if self._refused is not None and self._refused in request and _number(request) == _PRODUCE:
                    self._refused = None
                    refusal = _refusal(request)
                    source.settimeout(_WAIT_SECONDS)
                else:
                    sink.sendall(request)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _requests(source: socket.socket) -> Iterator[bytes]:
    """Yield a client's requests, with their lengths, and b"" for each time that it is silent."""
    data = b""
    while True:
        while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[:4])):
            yield data[:end]
            data = data[end:]
        try:
            received = source.recv(1 << 16)
        except TimeoutError:
            yield b""
            continue
        if not received:
            return
        data += received


def _number(request: bytes) -> int:
    return int.from_bytes(request[4:6])


def _refusal(request: bytes) -> bytes:
    """Return the answer to a request to append to one partition. Source: Kafka's protocol, ProduceResponse.json."""
    _, version, correlation, client = struct.unpack_from(">hhih", request, 4)
    assert _FLEXIBLE <= version < _BY_TOPIC_ID
    # After the client's id: tags, no transaction, acks, timeout, and how many topics there are, plus one.
    at = 14 + client + 1
    transaction, topics, name = request[at], request[at + 7], request[at + 8]
    assert (transaction, topics) == (0, 2)
    topic = request[at + 8 : at + 8 + name]
    assert request[at + 8 + name] == 2
    partition = request[at + 9 + name : at + 13 + name]
    # No offset, no times, no errors of records, no text, no tags.
    result = partition + struct.pack(">hqqqBBB", _NOT_LEADER, -1, -1, -1, 1, 0, 0)
    answer = struct.pack(">iBB", correlation, 0, 2) + topic + b"\x02" + result + b"\0" + struct.pack(">iB", 0, 0)
    return len(answer).to_bytes(4) + answer
