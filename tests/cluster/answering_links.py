"""Proxies between client and broker that answer some requests themselves, as a broker does that is restarting."""

import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator

from tests.cluster.network import Link

_PRODUCE, _METADATA = 0, 3
"""Numbers of requests. Source: Kafka's protocol, as are the requests and answers below."""
_LEADER_NOT_AVAILABLE, _NOT_LEADER = 5, 6
_WAIT_SECONDS = 1.0


class _AnsweringLink(Link, ABC):
    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if sink.getpeername()[1] == self._target:
                self._serve(source, sink)
        # The broker's answers; or the client has ended, and so does its connection to the broker.
        super()._pump(source, sink)

    @abstractmethod
    def _serve(self, client: socket.socket, broker: socket.socket) -> None:
        """Forward a client's requests, or answer them."""


class RefusingLink(_AnsweringLink):
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

    def _serve(self, client: socket.socket, broker: socket.socket) -> None:
        refusal = b""
        for request in _requests(client):
            if refusal and (not request or _number(request) == _PRODUCE):
                client.sendall(refusal)
                client.settimeout(None)
                refusal = b""
            if self._refused is not None and self._refused in request and _number(request) == _PRODUCE:
                self._refused = None
                refusal = _refusal(request)
                client.settimeout(_WAIT_SECONDS)
            else:
                broker.sendall(request)


class ForgettingLink(_AnsweringLink):
    """Answers requests for metadata as if there were no broker, and forwards everything else."""

    def __init__(self, target: int, topic: str) -> None:
        """Start forwarding.

        Args:
            target: a port on this machine.
            topic: without a leader according to the answers.
        """
        self._topic = topic.encode()
        self.forgets = False
        super().__init__(target)

    def _serve(self, client: socket.socket, broker: socket.socket) -> None:
        for request in _requests(client):
            if self.forgets and _number(request) == _METADATA:
                client.sendall(_no_broker(request, self._topic))
            else:
                broker.sendall(request)


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
    """Return the answer to a request to append to one partition, in versions 9 to 12."""
    _, version, correlation, client = struct.unpack_from(">hhih", request, 4)
    assert 9 <= version <= 12
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


def _no_broker(request: bytes, topic: bytes) -> bytes:
    """Return the answer to a request for metadata of one topic, in version 13."""
    _, version, correlation = struct.unpack_from(">hhi", request, 4)
    assert version == 13
    # No delay, no broker, no id of the cluster, no controller, one topic.
    cluster = struct.pack(">iBiBBiB", correlation, 0, 0, 1, 0, -1, 2)
    # No id, not internal, no partition, no rights, no tags.
    named = (
        struct.pack(">hB", _LEADER_NOT_AVAILABLE, len(topic) + 1) + topic + bytes(16) + struct.pack(">BBiB", 0, 1, 0, 0)
    )
    answer = cluster + named + struct.pack(">hB", 0, 0)
    return len(answer).to_bytes(4) + answer
