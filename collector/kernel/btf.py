"""Reads BPF Type Format: the offset of each member of a kernel struct in the running kernel.

Header files may belong to another kernel; BTF is the running kernel's own. Format: Documentation/bpf/btf.rst.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

STRUCT, _UNION, _ENUM, TYPEDEF, _VOLATILE, _CONST, _RESTRICT, FUNC, _TYPE_TAG = 4, 5, 6, 8, 9, 10, 11, 12, 18
_MODIFIERS = frozenset({TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_NAMED = frozenset({STRUCT, _UNION, _ENUM, TYPEDEF, FUNC})
_FIXED_TAIL = {1: 4, 3: 12, 14: 4, 17: 4}
_TAIL_PER_MEMBER = {STRUCT: 12, _UNION: 12, _ENUM: 8, 13: 8, 15: 12, 19: 12}
_MAGIC = 0xEB9F
_HEADER = struct.Struct("<III")
_INT, _FUNC_PROTO, _GLOBAL = 1, 13, 1
_LONG, _SIGNATURE, _FIRST_FUNCTION = 1, 2, 3
"""Type ids in what describe_functions() returns."""


class Btf:
    """The types of one BTF blob, found by name."""

    def __init__(self, data: bytes) -> None:
        """Index the blob; raises ValueError if it isn't BTF."""
        if len(data) < 24 or struct.unpack_from("<H", data)[0] != _MAGIC:
            raise ValueError("not a BTF blob")
        header_length, type_offset, type_length, string_offset = struct.unpack_from("<IIII", data, 4)
        self._data = data
        self._strings = header_length + string_offset
        self._offsets = [0]
        self._enums: list[int] = []
        self._by_name: dict[tuple[int, int], int] = {}
        at = header_length + type_offset
        end = at + type_length
        while at < end:
            name, info, _ = _HEADER.unpack_from(data, at)
            kind = (info >> 24) & 31
            if name and kind in _NAMED:
                self._by_name.setdefault((kind, name), len(self._offsets))
            if kind == _ENUM:
                self._enums.append(len(self._offsets))
            self._offsets.append(at)
            at += 12 + _FIXED_TAIL.get(kind, 0) + _TAIL_PER_MEMBER.get(kind, 0) * (info & 0xFFFF)

    def offset(self, path: str) -> int:
        """Return the byte offset of a member such as ``file.f_path.dentry``; raises KeyError if there is none."""
        first, *members = path.split(".")
        index = self._find(first, (STRUCT, _UNION, TYPEDEF))
        bits = 0
        for member in members:
            found = self._member(index, member)
            if found is None:
                raise KeyError(path)
            index, member_bits = found
            bits += member_bits
        return bits // 8

    def size(self, name: str) -> int:
        """Return the size of a struct in bytes; raises KeyError if there is none."""
        return self._type(self._skip(self._find(name, (STRUCT, _UNION, TYPEDEF))))[3]

    def enum(self, name: str) -> dict[str, int]:
        """Return the names and values of an enum; raises KeyError if there is none."""
        index = self._find(name, (_ENUM,))
        start = self._offsets[index] + 12
        count = self._type(index)[1]
        pairs = struct.iter_unpack("<Ii", self._data[start : start + 8 * count])
        return {self._name(label): value for label, value in pairs}

    def enumerator(self, name: str) -> int:
        """Return the value of an enumerator, including those of anonymous enums; raises KeyError if there is none."""
        found = self._data.find(b"\0" + name.encode() + b"\0", self._strings)
        if found < 0:
            raise KeyError(name)
        label = struct.pack("<I", found + 1 - self._strings)
        for index in self._enums:
            start = self._offsets[index] + 12
            at = self._data.find(label, start, start + 8 * self._type(index)[1])
            if at >= 0 and (at - start) % 8 == 0:
                return int.from_bytes(self._data[at + 4 : at + 8], "little", signed=True)
        raise KeyError(name)

    def type_id(self, name: str, kind: int) -> int:
        """Return the id of a STRUCT, a TYPEDEF or a function of the kernel's own (FUNC); raises KeyError."""
        return self._find(name, (kind,))

    def parameters(self, name: str, kind: int = TYPEDEF) -> int:
        """Return the number of parameters of a function pointer's typedef, or of a function; raises KeyError."""
        signature = self._type(self._skip(self.type_id(name, kind)))[3]
        return self._type(signature)[1]

    def _find(self, name: str, kinds: tuple[int, ...]) -> int:
        at = self._data.find(b"\0" + name.encode() + b"\0", self._strings)
        for kind in kinds:
            index = self._by_name.get((kind, at + 1 - self._strings))
            if at >= 0 and index is not None:
                return index
        raise KeyError(name)

    def _name(self, offset: int) -> str:
        start = self._strings + offset
        return self._data[start : self._data.index(b"\0", start)].decode()

    def _type(self, index: int) -> tuple[int, int, bool, int]:
        _, info, size = _HEADER.unpack_from(self._data, self._offsets[index])
        return (info >> 24) & 31, info & 0xFFFF, bool(info >> 31), size

    def _skip(self, index: int) -> int:
        kind, _, _, target = self._type(index)
        while kind in _MODIFIERS:
            index = target
            kind, _, _, target = self._type(index)
        return index

    def _member(self, index: int, name: str) -> tuple[int, int] | None:
        index = self._skip(index)
        kind, count, has_bitfields, _ = self._type(index)
        if kind not in (STRUCT, _UNION):
            return None
        for i in range(count):
            label, target, bits = _HEADER.unpack_from(self._data, self._offsets[index] + 12 + 12 * i)
            bits = bits & 0xFFFFFF if has_bitfields else bits
            if label == 0:
                inner = self._member(target, name)
                if inner is not None:
                    return inner[0], bits + inner[1]
            elif self._name(label) == name:
                return target, bits
        return None


def describe_functions(names: Sequence[str]) -> tuple[bytes, list[int]]:
    """Describe a program's functions as global ones, without parameters, so that the kernel verifies each only once.

    Returns:
        A BTF blob, and each function's type id in it.
    """
    strings, types = b"\0long\0", _HEADER.pack(1, _INT << 24, 8) + struct.pack("<I", 1 << 24 | 64)
    types += _HEADER.pack(0, _FUNC_PROTO << 24, _LONG)
    for name in names:
        types += _HEADER.pack(len(strings), FUNC << 24 | _GLOBAL, _SIGNATURE)
        strings += name.encode() + b"\0"
    header = struct.pack("<HBBIIIII", _MAGIC, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings, [_FIRST_FUNCTION + index for index in range(len(names))]
