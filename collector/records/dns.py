"""Parses answers of the Domain Name System, as a program received them: bytes in, a `DnsAnswer` out.

The bytes come from anyone, and may be cut. Everything is bounded: a pointer leads back only, a name has at most 255
bytes and few pointers, and only the first records and labels are read. Names are folded to lower case and written as in
zone files, where any byte outside of a to z, 0 to 9, hyphen and underscore is escaped: what they contain never reaches
a terminal or a separator.

Source: RFC 1035, sections 3.1, 4.1 and 5.1; RFC 4343 (case).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton

from collector.records.decode import ip_text
from foundation.text import canonical_address

MAX_RECORDS = 64
"""Records of one answer that are read; beyond that, it counts as cut."""
MAX_TEXTS = 32
"""Texts of `DnsAnswer.data`; beyond that, it counts as cut."""
MAX_CHARACTERS = 4_096
"""Characters of all these texts, after which no other follows: a message may name one long alias again and again."""

_HEADER, _QUESTION, _RECORD = struct.Struct(">6H"), struct.Struct(">2H"), struct.Struct(">2HIH")
_RESPONSE, _OPCODE, _RCODE = 0x8000, 0x7800, 0xF
_IN = 1
_A, _CNAME, _AAAA = 1, 5, 28
_ADDRESSES = {_A: (AF_INET, 4), _AAAA: (AF_INET6, 16)}
_NUMBERS = (1, 2, 5, 6, 10, 12, 15, 16, 28, 33, 35, 43, 46, 47, 48, 52, 64, 65, 251, 252, 255, 257)
_NAMES = (
    *("A", "NS", "CNAME", "SOA", "NULL", "PTR", "MX", "TXT", "AAAA", "SRV", "NAPTR", "DS", "RRSIG", "NSEC", "DNSKEY"),
    *("TLSA", "SVCB", "HTTPS", "IXFR", "AXFR", "ANY", "CAA"),
)
_TYPES = dict(zip(_NUMBERS, _NAMES, strict=True))
_CODES = (
    *("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH"),
    "NOTZONE",
)
_POINTER, _MAX_NAME, _MAX_LABEL = 0xC0, 255, 63
_MAX_POINTERS = 16
"""Pointers of one name; servers need one or two. Each of a chain would be followed again for each record."""
_MAX_LABELS = 640
"""Labels of all names of a message, each name that only points to another one counted once: ten for each record."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_MAX_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What an answer states about the name in its question."""

    name: str
    """Lower case, without the final dot; empty for the root."""
    type: str
    """The type in the question: A, AAAA, TXT …; TYPE followed by the number if it has no common name."""
    code: str
    """NOERROR, NXDOMAIN …"""
    data: tuple[str, ...] = ()
    """Addresses of the name, and the aliases that lead to them, in their order."""
    addresses: tuple[str, ...] = ()
    """The addresses alone."""
    seconds: int = 0
    """How long the addresses may be used, at most a day: the least of all records that lead to them."""
    is_cut: bool = False
    """True if there is more than was read."""

    @property
    def text(self) -> str:
        """All of it that events have, separated by blanks."""
        return " ".join((self.name or ".", self.type, self.code, *self.data))


def parse(data: bytes) -> DnsAnswer | None:
    """Parse a message that a process received from a name server; None if it is no answer to a question.

    Args:
        data: the message's bytes, or the first of them.

    Raises:
        ValueError: it can't be an answer, or its question is missing.
    """
    try:
        _, flags, questions, records, _, _ = _HEADER.unpack_from(data)
        if not flags & _RESPONSE or flags & _OPCODE or not questions:
            return None
        if questions > 1:
            raise ValueError(f"{questions} questions")
        names = _Names(data)
        name, at = names.read(_HEADER.size)
        kind, _ = _QUESTION.unpack_from(data, at)
    except (struct.error, IndexError) as error:
        raise ValueError("cut before the question ends") from error
    code = flags & _RCODE
    said = _CODES[code] if code < len(_CODES) else f"RCODE{code}"
    return _followed(DnsAnswer(name, _TYPES.get(kind, f"TYPE{kind}"), said), names, at + _QUESTION.size, records)


def written(answer: DnsAnswer) -> bytes:
    """Return a message with an answer, as in UDP; tests of rules receive it. Each alias is one of the text before it.

    Raises:
        ValueError: a name, a type or the response code can't be written.
    """
    kinds = {name: number for number, name in _TYPES.items()}
    if answer.type not in kinds:
        raise ValueError(f"'{answer.type}' is not a known type of record")
    if answer.code not in _CODES:
        raise ValueError(f"'{answer.code}' is not a known response code")
    records, owner = b"", _wire_name(answer.name)
    head = _HEADER.pack(1, _RESPONSE | _CODES.index(answer.code), 1, len(answer.data), 0, 0)
    head += owner + _QUESTION.pack(kinds[answer.type], _IN)
    for text in answer.data:
        address = canonical_address(text)
        if address is None:
            kind, contents = _CNAME, _wire_name(text)
        else:
            kind, contents = (_AAAA, inet_pton(AF_INET6, text)) if ":" in text else (_A, inet_pton(AF_INET, text))
        records += owner + _RECORD.pack(kind, _IN, answer.seconds, len(contents)) + contents
        owner = contents if address is None else owner
    return head + records


def _wire_name(text: str) -> bytes:
    labels = [label.encode("ascii") for label in text.split(".") if label]
    if max(map(len, labels), default=0) > _MAX_LABEL:
        raise ValueError(f"a label of '{text}' has more than {_MAX_LABEL} characters")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _followed(asked: DnsAnswer, names: "_Names", at: int, count: int) -> DnsAnswer:
    """Add the records about the name in the question, or about an alias of it."""
    data, aliases, texts, addresses = names.data, {asked.name}, [], []
    seconds, is_cut, characters = _MAX_SECONDS, count > MAX_RECORDS, 0
    try:
        for owner, kind, ttl, start, size in _records(names, at, min(count, MAX_RECORDS)):
            if owner not in aliases:
                continue
            if kind == _CNAME:
                alias, _ = names.read(start)
                aliases.add(alias)
                texts.append(alias)
            elif kind in _ADDRESSES and size == _ADDRESSES[kind][1]:
                address = ip_text(_ADDRESSES[kind][0], data[start : start + size])
                texts.append(address)
                addresses.append(address)
            else:
                continue
            seconds = min(seconds, ttl)
            characters += len(texts[-1])
            if len(texts) == MAX_TEXTS or characters >= MAX_CHARACTERS:
                is_cut = True
                break
    except (ValueError, struct.error, IndexError):
        # What comes before is as good as in a whole one.
        is_cut = True
    return DnsAnswer(
        asked.name, asked.type, asked.code, tuple(texts), tuple(addresses), seconds if addresses else 0, is_cut
    )


def _records(names: "_Names", at: int, count: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield the owner, the type, the seconds, and start and size of the contents of each record."""
    data = names.data
    for _ in range(count):
        owner, at = names.read(at)
        kind, family, ttl, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + size > len(data):
            raise ValueError("cut")
        if family == _IN:
            # The top bit is never set in a valid one (RFC 2181, section 8).
            yield owner, kind, 0 if ttl >> 31 else ttl, at, size
        at += size


class _Names:
    """The names of a message."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._labels = _MAX_LABELS
        self._known: dict[int, str] = {}
        """By their index; most records are about the name in the question, to which they point."""

    def read(self, at: int) -> tuple[str, int]:
        """Return the name at an index, and the index of what follows it.

        Raises:
            ValueError: it is none.
            IndexError: its end is missing.
        """
        data = self.data
        start, end = at, -1
        if data[at] >= _POINTER:
            start, end = (data[at] & ~_POINTER) << 8 | data[at + 1], at + 2
        known = self._known.get(start)
        if known is not None and start < at:
            return known, end
        labels, follows = self._parts(at)
        name = self._known[start] = written_name(labels)
        return name, follows

    def _parts(self, at: int) -> tuple[list[bytes], int]:
        data = self.data
        labels: list[bytes] = []
        size, pointers, end, limit = 0, 0, -1, at
        while length := data[at]:
            if length >= _POINTER:
                if end < 0:
                    end = at + 2
                at = (length & ~_POINTER) << 8 | data[at + 1]
                # Each pointer leads before the last part that was read, so that none leads back to itself.
                if at >= limit:
                    raise ValueError("a pointer does not lead back")
                limit, pointers = at, pointers + 1
                if pointers > _MAX_POINTERS:
                    raise ValueError("too many pointers")
                continue
            size += length + 1
            if length > _MAX_LABEL or size >= _MAX_NAME:
                raise ValueError("a label or a name is too long")
            label = data[at + 1 : at + 1 + length]
            if len(label) < length:
                raise ValueError("cut in a name")
            self._labels -= 1
            if not self._labels:
                raise ValueError("too many labels")
            labels.append(label)
            at += length + 1
        return labels, at + 1 if end < 0 else end


def written_name(labels: list[bytes]) -> str:
    """Return a name as events have it: in lower case, with bytes escaped that never reach a terminal or a separator."""
    is_plain = _PLAIN.issuperset(b"".join(labels).lower())
    return _text(b".".join(labels)) if is_plain else ".".join(map(_escaped, labels))


@lru_cache(maxsize=1024)
def _text(name: bytes) -> str:
    return name.lower().decode("ascii")


def _escaped(label: bytes) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in label.lower())
