"""Reads and writes Protocol Buffers messages by field number, without generated classes.

Only what the messages of a few calls need: integers and bytes; whatever else a message contains is skipped.
"""

from collections.abc import Iterable

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10
"""Bytes of the longest integer."""
MAX_FIELDS = 100_000
"""Fields of one message; a longer one is not what a runtime sends."""


class Message:
    """The fields of one message. A field that the message lacks has its default, as proto3 prescribes.

    Args:
        data: the encoded message.

    Raises:
        ValueError: the data is not a message.

    Source: the encoding described at protobuf.dev.
    """

    __slots__ = ("_fields",)

    def __init__(self, data: bytes | memoryview) -> None:
        data = memoryview(data)
        self._fields: dict[int, list[int | memoryview]] = {}
        at = count = 0
        while at < len(data):
            count += 1
            if count > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            key, at = _varint(data, at)
            number, kind = key >> 3, key & 7
            value: int | memoryview
            if kind == _VARINT:
                value, at = _varint(data, at)
            elif kind in (_BYTES, _FIXED32, _FIXED64):
                length, at = _varint(data, at) if kind == _BYTES else (4 if kind == _FIXED32 else 8, at)
                value = data[at : at + length]
                at += length
                if at > len(data):
                    raise ValueError("a field reaches beyond the message")
            else:
                raise ValueError(f"wire type {kind}")
            self._fields.setdefault(number, []).append(value)

    def integer(self, number: int) -> int:
        """Return an integer field."""
        value = self._last(number)
        return value if isinstance(value, int) else 0

    def text(self, number: int) -> str:
        """Return a text field; bytes that are not UTF-8 are replaced."""
        return str(self.data(number), "utf-8", "replace")

    def data(self, number: int) -> bytes:
        """Return the bytes of a field."""
        value = self._last(number)
        return bytes(value) if isinstance(value, memoryview) else b""

    def message(self, number: int) -> "Message":
        """Return an embedded message; an empty one if it is missing."""
        value = self._last(number)
        return Message(value if isinstance(value, memoryview) else b"")

    def messages(self, number: int) -> list["Message"]:
        """Return the messages of a repeated field."""
        return [Message(value) for value in self._fields.get(number, ()) if isinstance(value, memoryview)]

    def mapping(self, number: int) -> dict[str, str]:
        """Return a field of type map<string, string>."""
        return {entry.text(1): entry.text(2) for entry in self.messages(number)}

    def _last(self, number: int) -> int | memoryview | None:
        values = self._fields.get(number)
        return values[-1] if values else None


def encode(fields: Iterable[tuple[int, int | str | bytes]]) -> bytes:
    """Encode a message of pairs of a field's number and its value; an embedded message is given as bytes."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_encoded(number << 3 | _VARINT), _encoded(value)]
        else:
            raw = value.encode() if isinstance(value, str) else value
            parts += [_encoded(number << 3 | _BYTES), _encoded(len(raw)), raw]
    return b"".join(parts)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT):
        if at >= len(data):
            raise ValueError("the message ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
