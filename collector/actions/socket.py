"""The socket between what receives intents and decisions, and the process that does them: one JSON object a packet.

The collector or `lanner run` connects, passes on signed records as they were stored, and gets results back. A result is
sent until its receipt is confirmed. After a new connection, what was passed on is sent again: acting is idempotent.
"""

import json
import os
import random
import select
import socket
import struct
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from foundation.errors import LannerError
from foundation.text import OnNote, ignore_note, printable
from foundation.throttling import Backoff
from schemas.action import ActionResult, BadActionRecord, decode_action_record

MAX_PACKET_BYTES = 64 << 10
MAX_CONNECTIONS = 8
MAX_QUEUED = 1024
"""Intents and decisions that a client stores until the other side can have them."""
_MAX_AT_ONCE = 64
"""Packets that are read of one connection before others have their turn."""
_MAX_PENDING = 8192
"""Numbers of results in one packet of receipts."""
_BACKOFF = Backoff(first=0.1, most=2.0)
_CREDENTIALS = struct.Struct("=iII")
_LATEST = 1 << 62

RecordKind = Literal["intent", "decision"]


class BadPacket(LannerError, ValueError):
    """The packet doesn't follow the protocol."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end when it connected."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class RecordPacket:
    """An intent or a decision, as it was stored."""

    kind: RecordKind
    value: bytes
    signature: bytes
    """Empty where records aren't signed."""
    stored: int
    """When it was stored, by the clock of the broker, ns since the epoch."""
    now: int
    """The present time of the same clock; 0 if it isn't known yet."""


@dataclass(frozen=True, slots=True)
class TakenPacket:
    """The results that the other side has stored."""

    numbers: tuple[int, ...]


def decode_packet(data: bytes) -> RecordPacket | TakenPacket:
    """Decode what a client sent. Raises BadPacket."""
    if len(data) > MAX_PACKET_BYTES:
        raise BadPacket(f"the packet has more than {MAX_PACKET_BYTES} bytes")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        raise BadPacket("the packet is not JSON") from None
    kind = row.get("kind") if isinstance(row, dict) else None
    if kind == "taken":
        numbers = row.get("results")
        if not isinstance(numbers, list) or not all(type(each) is int and 0 <= each < _LATEST for each in numbers):
            raise BadPacket("results is not a list of numbers")
        return TakenPacket(tuple(numbers))
    if kind not in ("intent", "decision"):
        raise BadPacket("kind is none of intent, decision, taken")
    return RecordPacket(kind, _bytes(row, "value"), _bytes(row, "signature"), _time(row, "stored"), _time(row, "now"))


def _bytes(row: dict[str, object], name: str) -> bytes:
    try:
        return b64decode(cast("str", row[name]), validate=True)
    except (KeyError, TypeError, ValueError):
        raise BadPacket(f"{name} is not base64") from None


def _time(row: dict[str, object], name: str) -> int:
    found = row.get(name)
    if type(found) is not int or not 0 <= found < _LATEST:
        raise BadPacket(f"{name} is not a time in nanoseconds")
    return found


def _packet(row: dict[str, object]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()


class ActionConnection:
    """One client of the server."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.peer = Peer(*_CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))
        self.sent = 0
        """The number of the last result that was sent."""
        self.is_open = True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._end.fileno()

    def packets(self) -> Iterator[bytes]:
        """Yield what has arrived, with at most one byte more than a packet may have."""
        for _ in range(_MAX_AT_ONCE):
            try:
                data = self._end.recv(MAX_PACKET_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            yield data

    def send_result(self, number: int, value: bytes) -> bool:
        """Send a result; return False if the client has to read others first."""
        if not self._send({"kind": "result", "number": number, "value": b64encode(value).decode()}):
            return False
        self.sent = number
        return True

    def send_error(self, text: str) -> None:
        """Send why a packet wasn't taken; an error that doesn't fit is lost."""
        self._send({"kind": "error", "text": text})

    def close(self) -> None:
        """Close it."""
        self.is_open = False
        self._end.close()

    def _send(self, row: dict[str, object]) -> bool:
        if not self.is_open:
            return False
        try:
            self._end.send(_packet(row))
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True


class ActionServer:
    """Listens, and admits only root and, if records are signed, members of the socket's group."""

    def __init__(self, path: Path, *, admits_group: bool, note: OnNote = ignore_note) -> None:
        """Listen. admits_group: whether processes of the socket's group may connect. Raises OSError."""
        self.refused = 0
        """Connections of others."""
        self.connections: dict[int, ActionConnection] = {}
        """By descriptor."""
        self._path, self._note = path, note
        self._gid = os.getegid() if admits_group else None
        # A folder of root alone, so that nobody can have another socket there.
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        before = os.umask(0o117)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.setblocking(False)
        self._socket.listen(MAX_CONNECTIONS)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def register(self, descriptor: int) -> None:
        """End a wait also if this descriptor becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> Sequence[ActionConnection]:
        """Wait until something arrives; return the connections that have something to read."""
        ready = {descriptor for descriptor, _ in self._poll.poll(max(0.0, seconds) * 1000)}
        if self._socket.fileno() in ready:
            self._accept()
        return [each for descriptor, each in self.connections.items() if descriptor in ready]

    def drop_closed(self) -> None:
        """Forget connections that are closed."""
        for descriptor in [descriptor for descriptor, each in self.connections.items() if not each.is_open]:
            del self.connections[descriptor]
            with suppress(KeyError, OSError):
                self._poll.unregister(descriptor)

    def close(self) -> None:
        """Close all, and remove the socket."""
        for each in self.connections.values():
            each.close()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            end, _ = self._socket.accept()
        except OSError:
            return
        end.setblocking(False)
        connection = ActionConnection(end)
        peer = connection.peer
        if (peer.uid != 0 and peer.uid != os.geteuid() and peer.gid != self._gid) or (
            len(self.connections) >= MAX_CONNECTIONS
        ):
            self.refused += 1
            if self.refused == 1:
                self._note(f"{self._path}: a connection of pid {peer.pid}, user {peer.uid}, was refused.", "warning")
            connection.send_error("only root may connect" if peer.uid else "there are too many connections")
            connection.close()
            return
        self.connections[connection.fileno()] = connection
        self._poll.register(connection, select.POLLIN)


@dataclass(slots=True)
class _Queued:
    kind: RecordKind
    value: bytes
    signature: bytes
    stored: int
    now: int
    at: int
    """When it was queued, boot clock, ns."""

    def packet(self, at: int) -> bytes:
        return _packet(
            {
                "kind": self.kind,
                "value": b64encode(self.value).decode(),
                "signature": b64encode(self.signature).decode(),
                "stored": self.stored,
                "now": self.now + at - self.at if self.now else 0,
            }
        )


class ActionsClient:
    """Passes intents and decisions on, and takes results. It never blocks.

    What was passed on is stored, the newest MAX_QUEUED, and sent again after each new connection.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] | None = None, note: OnNote = ignore_note) -> None:
        """Connect later. clock: returns nanoseconds; the boot clock unless another one is given."""
        self.dropped = 0
        """Intents and decisions that were dropped before they could be sent."""
        self.errors = 0
        """Packets that the other side could not take; the last one's reason is in `last_error`."""
        self.last_error = ""
        """Why the last packet or connection failed."""
        self._path, self._note = path, note
        self._clock = clock or _boot_clock
        self._end: socket.socket | None = None
        self._queue: OrderedDict[bytes, _Queued] = OrderedDict()
        """By their values: a record that is passed on again replaces the older one."""
        self._unsent: OrderedDict[bytes, None] = OrderedDict()
        self._unconfirmed: list[int] = []
        self._failures = 0
        self._next_attempt = 0

    @property
    def is_connected(self) -> bool:
        """True if the other side accepted a connection and has not closed it."""
        return self._end is not None

    @property
    def descriptor(self) -> int | None:
        """A descriptor that is readable if results arrived; None while there is no connection."""
        return None if self._end is None else self._end.fileno()

    @property
    def waiting(self) -> int:
        """The number of intents and decisions that could not be sent yet."""
        return len(self._unsent)

    def send_intent(self, value: bytes, signature: bytes, stored: int, now: int) -> None:
        """Pass on an intent.

        Args:
            value: the record as it was stored.
            signature: empty where records aren't signed.
            stored: when it was stored, by the clock of the broker, ns since the epoch.
            now: the present time of the same clock; 0 if it isn't known: then the intent is only taken note of, and
                has to be sent again with the time.
        """
        self._put(_Queued("intent", value, signature, stored, now, self._clock()))

    def send_decision(self, value: bytes, signature: bytes, stored: int, now: int) -> None:
        """Pass on a decision; the arguments are as for `send_intent`."""
        self._put(_Queued("decision", value, signature, stored, now, self._clock()))

    def poll(self) -> list[ActionResult]:
        """Connect if necessary, send what waits, and return the results that arrived.

        A call confirms the receipt of what the last one returned, so store that first.
        """
        self._flush()
        if self._end is None:
            return []
        if self._unconfirmed and self._write(_packet({"kind": "taken", "results": self._unconfirmed[:_MAX_PENDING]})):
            del self._unconfirmed[:_MAX_PENDING]
        found = []
        for _ in range(_MAX_AT_ONCE):
            data = self._read()
            if data is None:
                break
            result = self._result(data)
            if result is not None:
                found.append(result)
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._end is not None:
            self._end.close()
            self._end = None

    def _put(self, queued: _Queued) -> None:
        self._queue.pop(queued.value, None)
        self._queue[queued.value] = queued
        self._unsent[queued.value] = None
        if len(self._queue) > MAX_QUEUED:
            oldest, _ = self._queue.popitem(last=False)
            if oldest in self._unsent:
                del self._unsent[oldest]
                self.dropped += 1
        self._flush()

    def _flush(self) -> None:
        if self._end is None:
            self._connect()
        while self._end is not None and self._unsent:
            value = next(iter(self._unsent))
            if not self._write(self._queue[value].packet(self._clock())):
                return
            self._unsent.pop(value, None)

    def _connect(self) -> None:
        now = self._clock()
        if now < self._next_attempt:
            return
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            end.connect(str(self._path))
        except OSError as error:
            end.close()
            self._failed(f"{self._path}: {error.strerror or error}: is `lanner actions serve` running?")
            return
        if self._failures:
            self._note(f"{self._path}: connected; actions can be done.", "info")
        self._failures = 0
        self._end = end
        self._unsent = OrderedDict.fromkeys(self._queue)

    def _failed(self, text: str) -> None:
        self.close()
        self.last_error = text
        self._failures += 1
        self._unconfirmed.clear()
        wait = _BACKOFF.seconds(self._failures, None, random.random())  # noqa: S311  not a secret
        self._next_attempt = self._clock() + int(wait * 1_000_000_000)
        if self._failures == 1:
            self._note(f"{text} Until then, actions wait.", "warning")

    def _write(self, packet: bytes) -> bool:
        assert self._end is not None  # noqa: S101  the callers connect first
        try:
            self._end.send(packet)
        except BlockingIOError:
            return False
        except OSError as error:
            self._failed(f"{self._path}: {error.strerror or error}: is `lanner actions serve` running?")
            return False
        return True

    def _read(self) -> bytes | None:
        if self._end is None:
            return None
        try:
            data = self._end.recv(MAX_PACKET_BYTES + 1)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._failed(f"{self._path}: the connection was closed. Is `lanner actions serve` running?")
            return None
        return data

    def _result(self, data: bytes) -> ActionResult | None:
        try:
            row = json.loads(data)
            if row["kind"] == "error":
                self.errors += 1
                self.last_error = printable(str(row["text"]))
                return None
            number, value = row["number"], b64decode(row["value"], validate=True)
            result = decode_action_record(value, ActionResult)
        except (ValueError, KeyError, TypeError, RecursionError, BadActionRecord):
            self.errors += 1
            self.last_error = f"{self._path}: it sent what is not a result: are both of the same release?"
            return None
        self._unconfirmed.append(number)
        return result


def _boot_clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
