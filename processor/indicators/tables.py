"""Tables of up to a million indicators: which entry has a value, in about a microsecond and few bytes.

An entry is a few numbers in arrays and its bytes in one text, because Python objects take several times the memory.
A table is filled, then finished; after that, threads may read it. Pure: no file, no clock.
"""

import re
import socket
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Literal
from zlib import crc32

from foundation.errors import LannerError

Kind = Literal["address", "name", "digest", "text"]

MAX_ENTRIES = 1_000_000
"""The most entries of a list; positions take _INDEX_BITS."""
MAX_DESCRIPTIONS = 65_536
"""The most different descriptions of a list; entries with others have none."""
MAX_TEXT = 1024
"""The most characters of an entry."""
_INDEX_BITS = 20
_INDEX = (1 << _INDEX_BITS) - 1
_LOW = (1 << 64) - 1
_LEVELS = {32: (0, 8, 16, 24, 32), 128: (0, 16, 32, 48, 64, 128)}
"""The numbers of leading bits by which the networks of a version are marked, by the bits of its addresses."""
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_DIGESTS = {32: "MD5", 40: "SHA-1", 64: "SHA-256", 128: "SHA-512"}
"""Digests by their number of hexadecimal digits."""
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}", re.ASCII)
_FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))


class BadIndicator(LannerError, ValueError):
    """An entry is not of its list's kind; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a list."""

    text: str
    """As lists have it: an address, a network, the end of a name, a digest."""
    expires: int = 0
    """Seconds since the epoch; 0 if it never expires."""
    description: str = ""
    starts: int = 0
    """Seconds since the epoch; before that, it has no value."""

    def is_valid(self, now: float) -> bool:
        """Return whether it counts at a time, s since the epoch."""
        return self.starts <= now and not 0 < self.expires <= now


class Table(ABC):
    """The entries of a list, of one kind."""

    def __init__(self) -> None:
        self._expires = array("I")
        self._starts = array("I")
        """When entries start to count; empty if all do."""
        self._descriptions = array("I")
        self._texts = {"": 0}
        self.checksum = 0
        """Equal for tables with the same entries."""

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._descriptions)

    def add(self, entry: Entry) -> None:
        """Add an entry. Raises BadIndicator if it is not of the table's kind."""
        if len(entry.text) > MAX_TEXT:
            raise BadIndicator(f"it is longer than {MAX_TEXT} characters")
        self._add(entry.text)
        if entry.starts and not self._starts:
            self._starts.frombytes(bytes(self._starts.itemsize * len(self)))
        if entry.starts or self._starts:
            self._starts.append(entry.starts)
        self._expires.append(entry.expires)
        number = self._texts.get(entry.description)
        if number is None:
            number = len(self._texts) if len(self._texts) < MAX_DESCRIPTIONS else 0
            self._texts.setdefault(entry.description if number else "", number)
        self._descriptions.append(number)

    def finish(self) -> None:
        """Order the entries; none is added from then on."""
        self._names = tuple(self._texts)
        self._finish()
        parts = (
            *self._parts(),
            self._expires,
            self._starts,
            self._descriptions,
            "\0".join(self._names).encode("utf-8", "replace"),
        )
        self.checksum = reduce(lambda known, part: crc32(part, known), parts, 0)

    @abstractmethod
    def may_have(self, value: str) -> bool:
        """Return False for most values that no entry has, and True for all others."""

    def find(self, value: str) -> Iterator[Entry]:
        """Yield the entries that have a value, the most specific first."""
        for index, text in self._find(value):
            starts = self._starts[index] if self._starts else 0
            yield Entry(text, self._expires[index], self._names[self._descriptions[index]], starts)

    @abstractmethod
    def texts(self) -> Iterator[str]:
        """Yield the texts of all entries, as `find` has them, in any order."""

    @abstractmethod
    def _add(self, text: str) -> None:
        """Add an entry's text. Raises BadIndicator if it is not of the table's kind."""

    @abstractmethod
    def _finish(self) -> None:
        """Order the texts."""

    @abstractmethod
    def _parts(self) -> Iterable["array[int] | bytearray"]:
        """Return what all entries consist of."""

    @abstractmethod
    def _find(self, value: str) -> Iterator[tuple[int, str]]:
        """Yield number and text of the entries that have a value."""


def _address(text: str) -> tuple[bool, int] | None:
    """Return whether an address is of version 6, and its number; None if the text is not an address."""
    is_v6 = ":" in text
    try:
        return is_v6, int.from_bytes(socket.inet_pton(_FAMILIES[is_v6], text), "big")
    except (OSError, ValueError):
        return None


class AddressTable(Table):
    """Addresses and networks, of both versions."""

    def __init__(self) -> None:
        """Begin without entries."""
        super().__init__()
        self._networks = (_Networks(32), _Networks(128))

    def _add(self, text: str) -> None:
        address, slash, digits = text.partition("/")
        found = _address(address)
        if found is None:
            raise BadIndicator("it is neither an address nor a network")
        is_v6, number = found
        bits = 128 if is_v6 else 32
        length = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 3 else -1 if slash else bits
        if not 0 <= length <= bits:
            raise BadIndicator(f"the length after the slash of such a network is 0 to {bits}")
        if number & ((1 << (bits - length)) - 1):
            raise BadIndicator("bits after the length of the network are set: write its first address")
        self._networks[is_v6].add(number, length, len(self))

    def _finish(self) -> None:
        for each in self._networks:
            each.finish()

    def _parts(self) -> Iterable["array[int] | bytearray"]:
        return (part for each in self._networks for part in each.parts())

    def texts(self) -> Iterator[str]:
        """Yield addresses and networks."""
        return (text for each in self._networks for text in each.texts())

    def may_have(self, value: str) -> bool:
        """Return whether an entry has an address."""
        is_v6 = ":" in value
        try:
            number = int.from_bytes(socket.inet_pton(_FAMILIES[is_v6], value), "big")
        except (OSError, ValueError):
            return False
        return self._networks[is_v6].may_have(number)

    def _find(self, value: str) -> Iterator[tuple[int, str]]:
        found = _address(value)
        return iter(()) if found is None else self._networks[found[0]].holding(found[1])


class _Networks:
    """The networks of one version, by their first address; of those that begin alike, the largest comes first."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._rows: list[int] = []
        self._starts = array("I" if bits == 32 else "Q")
        """The first addresses; of version 6, their upper halves."""
        self._lows = array("Q")
        self._shifts = bytearray()
        """How many bits of an address a network leaves open."""
        self._parents = array("i")
        """The smallest network around each, -1 for none; empty if none is in another."""
        self._entries = array("I")
        self._levels: tuple[int, ...] = ()
        """How many bits of an address each level of marks leaves open; only levels that a network has."""
        self._places = 1
        self._marked = bytearray(1)
        """A bit for each place. A network marks one, by its leading bits at the level of its length or above."""

    def add(self, start: int, length: int, entry: int) -> None:
        self._rows.append((start << 8 | length) << _INDEX_BITS | entry)

    def finish(self) -> None:
        self._rows.sort()
        around: list[int] = []
        is_nested = False
        for index, row in enumerate(self._rows):
            start = row >> _INDEX_BITS + 8
            self._starts.append(start if self._bits == 32 else start >> 64)
            if self._bits == 128:
                self._lows.append(start & _LOW)
            self._shifts.append(self._bits - (row >> _INDEX_BITS & 0xFF))
            self._entries.append(row & _INDEX)
            while around and not self._has(around[-1], start):
                around.pop()
            self._parents.append(around[-1] if around else -1)
            is_nested = is_nested or bool(around)
            around.append(index)
        self._mark()
        self._rows = []
        if not is_nested:
            self._parents = array("i")

    def _mark(self) -> None:
        # Sixteen times as many places as networks: one look at each level rules out most addresses. Their number is
        # odd, so that all bits of an address decide, not only its last ones, which hosts often have in common.
        places = self._places = 16 * len(self._rows) | 1
        marked = self._marked = bytearray((places >> 3) + 1)
        levels = _LEVELS[self._bits]
        opens = [self._bits - levels[bisect_right(levels, length) - 1] for length in range(self._bits + 1)]
        found = set()
        for row in self._rows:
            shift = opens[row >> _INDEX_BITS & 0xFF]
            found.add(shift)
            place = (row >> _INDEX_BITS + 8 >> shift) % places
            marked[place >> 3] |= 1 << (place & 7)
        self._levels = tuple(sorted(found))

    def parts(self) -> Iterable["array[int] | bytearray"]:
        return self._starts, self._lows, self._shifts, self._entries

    def _start(self, index: int) -> int:
        return self._starts[index] if self._bits == 32 else self._starts[index] << 64 | self._lows[index]

    def _has(self, index: int, number: int) -> bool:
        shift = self._shifts[index]
        return number >> shift == self._start(index) >> shift

    def _last_before(self, number: int) -> int:
        """Return the last network that begins at an address or before it; -1 if none does."""
        if self._bits == 32:
            return bisect_right(self._starts, number) - 1
        end = bisect_right(self._starts, number >> 64)
        begin = bisect_left(self._starts, number >> 64, 0, end)
        return bisect_right(self._lows, number & _LOW, begin, end) - 1

    def may_have(self, number: int) -> bool:
        marked, places = self._marked, self._places
        for shift in self._levels:
            place = (number >> shift) % places
            if marked[place >> 3] & 1 << (place & 7):
                break
        else:
            return False
        index = self._last_before(number)
        while index >= 0 and not self._has(index, number):
            index = self._parents[index] if self._parents else -1
        return index >= 0

    def holding(self, number: int) -> Iterator[tuple[int, str]]:
        """Yield number and text of the entries that hold an address.

        These are the last that begins before it, and the networks around that one.
        """
        index = self._last_before(number)
        while index >= 0:
            if self._has(index, number):
                yield self._entries[index], self._text(index)
            index = self._parents[index] if self._parents else -1

    def texts(self) -> Iterator[str]:
        return map(self._text, range(len(self._starts)))

    def _text(self, index: int) -> str:
        packed = self._start(index).to_bytes(self._bits // 8, "big")
        text = socket.inet_ntop(socket.AF_INET if self._bits == 32 else socket.AF_INET6, packed)
        shift = self._shifts[index]
        return f"{text}/{self._bits - shift}" if shift else text


_ANY = 2
"""The mark of a place that several hashes have; other marks are odd."""


def _marks(hashes: Iterable[int], count: int) -> bytearray:
    """Return places by the last bits of hashes, with the first bits of the hash that is there; 0 if none is.

    There are eight times as many places as hashes: one look rules out seven of eight hashes that are not here, and the
    mark nearly all others.
    """
    places = bytearray(1 << (8 * count).bit_length())
    mask = len(places) - 1
    for each in hashes:
        at, mark = each & mask, each >> 56 & 0xFF | 1
        places[at] = mark if places[at] in (0, mark) else _ANY
    return places


class ExactTable(Table):
    """Texts of which a value is one, by their hashes."""

    def __init__(self) -> None:
        """Begin without entries."""
        super().__init__()
        self._bytes = bytearray()
        self._ends = array("I")
        self._hashes = array("q")
        self._order = array("I")
        self._places = _marks((), 0)

    def _add(self, text: str) -> None:
        key = self._key(text)
        self._bytes += key
        self._ends.append(len(self._bytes))
        self._hashes.append(hash(key))

    def _finish(self) -> None:
        hashes = self._hashes
        self._order = array("I", sorted(range(len(hashes)), key=hashes.__getitem__))
        self._hashes = array("q", map(hashes.__getitem__, self._order))
        self._places = _marks(hashes, len(hashes))

    def _parts(self) -> Iterable["array[int] | bytearray"]:
        return self._bytes, self._ends

    def texts(self) -> Iterator[str]:
        """Yield the texts."""
        begin = 0
        for end in self._ends:
            yield self._text(bytes(self._bytes[begin:end]))
            begin = end

    def may_have(self, value: str) -> bool:
        """Return False for most values that no entry has, and True for all others."""
        return self._has_mark(hash(self._encoded(value)))

    def _has_mark(self, hashed: int) -> bool:
        places = self._places
        return places[hashed & len(places) - 1] in (_ANY, hashed >> 56 & 0xFF | 1)

    def _find(self, value: str) -> Iterator[tuple[int, str]]:
        return self._with_key(self._encoded(value))

    def _with_key(self, key: bytes) -> Iterator[tuple[int, str]]:
        hashed = hash(key)
        if not self._has_mark(hashed):
            return
        at = bisect_left(self._hashes, hashed)
        while at < len(self._hashes) and self._hashes[at] == hashed:
            index = self._order[at]
            if self._bytes[self._ends[index - 1] if index else 0 : self._ends[index]] == key:
                yield index, self._text(key)
            at += 1

    def _text(self, key: bytes) -> str:
        return key.decode("utf-8", "surrogateescape")

    def _key(self, text: str) -> bytes:
        """Return the bytes of an entry. Raises BadIndicator."""
        if not text or "\0" in text:
            raise BadIndicator("it is empty, or contains a NUL character")
        return self._encoded(text)

    def _encoded(self, value: str) -> bytes:
        """Return the bytes by which a value is looked up."""
        return value.encode("utf-8", "surrogateescape")


class DigestTable(ExactTable):
    """Digests in hexadecimal, of which a value is one, with or without the name of its algorithm in front of it."""

    def _key(self, text: str) -> bytes:
        key = self._encoded(text)
        if len(key) * 2 not in _DIGESTS:
            raise BadIndicator(f"it is not a digest in hexadecimal: {', '.join(_DIGESTS.values())}")
        return key

    def _encoded(self, value: str) -> bytes:
        try:
            return bytes.fromhex(value[value.rfind(":") + 1 :])
        except ValueError:
            return b""

    def _text(self, key: bytes) -> str:
        return key.hex()


class NameTable(ExactTable):
    """Names of which a value is one, or is below one."""

    def __init__(self) -> None:
        """Begin without entries."""
        super().__init__()
        self._fewest_labels = _LONGEST_NAME
        self._most_labels = 0
        self._skipped = range(0)
        """Labels at the end of a name that are too few for an entry."""
        self._end_places = _marks((), 0)
        """Marks of all ends of entries that have as many labels as an entry, the entries themselves included."""

    def _finish(self) -> None:
        super()._finish()
        self._skipped = range(1, self._fewest_labels)
        self._end_places = _marks(self._hashes_of_ends(), len(self))

    def _hashes_of_ends(self) -> Iterator[int]:
        begin = 0
        for end in self._ends:
            name, begin = bytes(self._bytes[begin:end]), end
            at = len(name)
            for _ in self._skipped:
                at = name.rfind(b".", 0, at)
            while at >= 0:
                at = name.rfind(b".", 0, at)
                yield hash(name[at + 1 :])

    def may_have(self, value: str) -> bool:
        """Return False for most names that no entry has, and True for all others."""
        name = value.encode("utf-8", "surrogateescape").lower().rstrip(b".")
        ends = self._end_places
        mask = len(ends) - 1
        at = len(name)
        for _ in self._skipped:
            at = name.rfind(b".", 0, at)
        # The shortest end comes first: it is of no entry for most names, and if it isn't, no longer one is.
        while at >= 0:
            at = name.rfind(b".", 0, at)
            hashed = hash(name[at + 1 :])
            mark = ends[hashed & mask]
            if not mark or (mark != _ANY and mark != hashed >> 56 & 0xFF | 1):
                return False
            if self._has_mark(hashed):
                return True
        return False

    def _find(self, value: str) -> Iterator[tuple[int, str]]:
        name = self._encoded(value)
        # The longest end that an entry can have comes first.
        for count in range(min(self._most_labels, name.count(b".") + 1), 0, -1):
            yield from self._with_key(b".".join(name.rsplit(b".", count)[-count:]))

    def _key(self, text: str) -> bytes:
        name = text.removeprefix("*").strip(".").lower()
        if not name.isascii():
            try:
                name = name.encode("idna").decode("ascii")
            except UnicodeError:
                raise BadIndicator("it is not a name: it has no form in ASCII") from None
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            lengths = map(len, name.split("."))
            if len(name) > _LONGEST_NAME or not all(0 < length <= _LONGEST_LABEL for length in lengths):
                raise BadIndicator("it is not a name: labels of 1 to 63 characters with dots between them, 253 in all")
            raise BadIndicator("it is not a name: a name has letters, digits, hyphens, underscores and dots")
        if name[-1].isdigit() and _address(name) is not None:
            raise BadIndicator("it is an address, not a name")
        labels = name.count(".") + 1
        self._fewest_labels = min(self._fewest_labels, labels)
        self._most_labels = max(self._most_labels, labels)
        return name.encode()

    def _encoded(self, value: str) -> bytes:
        return value.encode("utf-8", "surrogateescape").lower().rstrip(b".")


TABLES: dict[Kind, Callable[[], Table]] = {
    "address": AddressTable,
    "name": NameTable,
    "digest": DigestTable,
    "text": ExactTable,
}
"""The table of each kind."""
