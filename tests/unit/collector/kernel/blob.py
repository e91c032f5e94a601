"""BTF blobs built by hand, after Documentation/bpf/btf.rst."""

import struct
from collections.abc import Sequence

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = range(1, 14)
VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(14, 20)


class Blob:
    """Types in the order in which they are added; ids begin with 1."""

    def __init__(self) -> None:
        self._types = b""
        self._strings = b"\0"
        self._known = {"": 0}
        self._count = 0

    def add(
        self,
        kind: int,
        name: str = "",
        size_or_type: int = 0,
        tail: bytes = b"",
        members: int = 0,
        *,
        flag: bool = False,
    ) -> int:
        """Add a type and return its id."""
        info = kind << 24 | members | flag << 31
        self._types += struct.pack("<III", self.name(name), info, size_or_type) + tail
        self._count += 1
        return self._count

    def aggregate(
        self, kind: int, name: str, size: int, members: Sequence[tuple[str, int, int]], *, flag: bool = False
    ) -> int:
        """Add a struct or union of members (name, type, bit offset)."""
        tail = b"".join(struct.pack("<III", self.name(each), target, bits) for each, target, bits in members)
        return self.add(kind, name, size, tail, len(members), flag=flag)

    def enumeration(self, name: str, values: dict[str, int]) -> int:
        """Add an enum."""
        tail = b"".join(struct.pack("<Ii", self.name(each), value) for each, value in values.items())
        return self.add(ENUM, name, 4, tail, len(values))

    def name(self, text: str) -> int:
        """Return the offset of a name in the strings."""
        if text not in self._known:
            self._known[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._known[text]

    def data(self) -> bytes:
        """Return the whole blob."""
        head = struct.pack("<HBBI", 0xEB9F, 1, 0, 24)
        sections = struct.pack("<IIII", 0, len(self._types), len(self._types), len(self._strings))
        return head + sections + self._types + self._strings
