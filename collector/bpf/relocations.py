"""Finds where compiled programs hold the kernel's numbers, and inserts those of the running kernel.

The compiler gets a placeholder for each number, which NUMBER, AT, TIMES and LOAD in lanner.bpf.c put where
it is found, so the same program fits all kernels. To the verifier, what is inserted is constant: it follows no branch
for a feature that the kernel lacks, and removes it.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from collector.kernel.offsets import names
from foundation.errors import EnvironmentUnsupported

_FIRST, _STEP = 0x6000, 32
"""The first placeholder, above every offset in the program's own structs, and the distance to the next, which is above
what the program adds to one."""
_PLACEHOLDERS = {name: _FIRST + _STEP * index for index, name in enumerate(names())}
_NAMES = tuple(_PLACEHOLDERS)
_END = _FIRST + _STEP * len(_NAMES)
_IMMEDIATE = 0x4C000000
"""Added to placeholders where they have 32 bits, so that no other number of the program is taken for one."""
_INSTRUCTION, _WIDE, _WIDE_CODE = 8, 16, 0x18
_LOADS = frozenset({0x61, 0x69, 0x71, 0x79})
"""BPF_LDX | BPF_MEM of each size."""
_ADD, _MULTIPLY, _MOVE = 0x07, 0x27, 0xB7
"""BPF_ALU64 with an immediate."""
_CALL, _TO_PROGRAM, _TO_KERNEL = 0x85, 1, 2
"""BPF_JMP | BPF_CALL, BPF_PSEUDO_CALL and BPF_PSEUDO_KFUNC_CALL."""
_OFFSETS = range(-(1 << 15), 1 << 15)


@dataclass(frozen=True, slots=True)
class Relocation:
    """One instruction that holds a number of the kernel."""

    at: int
    """Bytes from the program's start."""
    name: str
    """As in collector.kernel.offsets; empty for a number of the program's own."""
    addend: int


def definitions() -> dict[str, int]:
    """Return the preprocessor definitions that the program is compiled with."""
    return {**_PLACEHOLDERS, "PLACEHOLDER": _IMMEDIATE}


def find(code: bytes | bytearray) -> Iterator[Relocation]:
    """Return all instructions that hold a placeholder."""
    at = 0
    while at < len(code):
        _, offset, immediate = struct.unpack_from("<xBhi", code, at)
        if code[at] in _LOADS and _FIRST <= offset < _END:
            yield _relocation(at, offset)
        elif code[at] in (_ADD, _MULTIPLY, _MOVE) and 0 <= immediate - _IMMEDIATE < _END:
            yield _relocation(at, immediate - _IMMEDIATE)
        at += _WIDE if code[at] == _WIDE_CODE else _INSTRUCTION


def _relocation(at: int, placeholder: int) -> Relocation:
    if placeholder < _STEP:
        return Relocation(at, "", placeholder)
    index, addend = divmod(placeholder - _FIRST, _STEP)
    return Relocation(at, _NAMES[index], addend)


def apply(code: bytearray, relocations: Sequence[Relocation], numbers: Mapping[str, int]) -> None:
    """Insert the running kernel's numbers; those that it lacks are 0.

    Raises:
        EnvironmentUnsupported: one doesn't fit into its instruction.
    """
    for each in relocations:
        value = numbers.get(each.name, 0) + each.addend
        if code[each.at] in _LOADS:
            if value not in _OFFSETS:
                reason = f"this kernel's {each.name} is {value}, too large for an instruction"
                raise EnvironmentUnsupported(reason, "report this kernel's version")
            struct.pack_into("<h", code, each.at + 2, value)
        else:
            struct.pack_into("<i", code, each.at + 4, value)


def redirect(code: bytearray, number: int, kernel_function: int | None) -> bool:
    """Redirect the calls that a number stands for, and return whether there are any.

    Args:
        code: the program.
        number: a helper that doesn't exist.
        kernel_function: the BTF type id of the kernel's function to call; None for what is appended to the code next.
    """
    calls = [
        at
        for at in range(0, len(code), _INSTRUCTION)
        if code[at] == _CALL and struct.unpack_from("<i", code, at + 4)[0] == number
    ]
    for at in calls:
        kind, target = _TO_KERNEL, kernel_function
        if target is None:
            kind, target = _TO_PROGRAM, (len(code) - at) // _INSTRUCTION - 1
        struct.pack_into("<BBhi", code, at, _CALL, kind << 4, 0, target)
    return bool(calls)
