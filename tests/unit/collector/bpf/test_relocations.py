"""The kernel's numbers in compiled programs."""

import re
import struct

import pytest

from collector.bpf import relocations
from collector.bpf.build import SOURCE
from collector.bpf.relocations import Relocation, apply, definitions, find, redirect
from collector.kernel.offsets import names
from foundation.errors import EnvironmentUnsupported

PLACEHOLDERS = definitions()
TGID = PLACEHOLDERS["O_TASK_TGID"]
IMMEDIATE = PLACEHOLDERS["PLACEHOLDER"]
ADD, MULTIPLY, MOVE, LOAD_WORD, STORE_WORD, LOAD_MAP, CALL = 0x07, 0x27, 0xB7, 0x61, 0x63, 0x18, 0x85


def instruction(code: int, offset: int = 0, immediate: int = 0) -> bytes:
    """Return one instruction, with register 1 for all registers."""
    return struct.pack("<BBhi", code, 0x11, offset, immediate)


def test_the_program_gets_every_number_that_it_names() -> None:
    """A missing one would only show at the next compilation, a superfluous one never."""
    source = "".join(path.read_text() for path in SOURCE.parent.glob("*.bpf.c"))
    defined = set(re.findall(r"#define (\w+)", source))
    types = set(re.findall(r", ([A-Z_]+)[,)]", source))

    named = set(re.findall(r"\b(?:O_[A-Z0-9_]+|N_[A-Z0-9_]+)\b", source)) - defined
    assert named == {name for name in names() if not name.startswith("TYPE_")}
    assert types >= {name.removeprefix("TYPE_") for name in names() if name.startswith("TYPE_")}


def test_what_is_found_is_replaced_by_what_the_kernel_has() -> None:
    """In loads, additions, products and moves, with what the program adds; all else stays."""
    others = [
        instruction(STORE_WORD, offset=TGID),
        instruction(LOAD_WORD, offset=TGID - 0x6000),
        instruction(ADD, immediate=TGID),
        instruction(LOAD_MAP, immediate=IMMEDIATE + TGID) + instruction(MOVE, immediate=IMMEDIATE + TGID),
    ]
    program = [
        instruction(LOAD_WORD, offset=TGID),
        instruction(ADD, immediate=IMMEDIATE + TGID + 16),
        instruction(MOVE, immediate=IMMEDIATE + PLACEHOLDERS["N_URING"]),
        instruction(MULTIPLY, immediate=IMMEDIATE + PLACEHOLDERS["N_UPID_BYTES"]),
        instruction(ADD, immediate=IMMEDIATE + 8),
    ]
    code = bytearray(b"".join([*others, *program]))

    found = list(find(code))
    apply(code, found, {"O_TASK_TGID": 2000, "N_UPID_BYTES": 16})

    assert [(each.name, each.addend) for each in found] == [
        ("O_TASK_TGID", 0),
        ("O_TASK_TGID", 16),
        ("N_URING", 0),
        ("N_UPID_BYTES", 0),
        ("", 8),
    ]
    inserted = [
        instruction(LOAD_WORD, offset=2000),
        instruction(ADD, immediate=2016),
        instruction(MOVE),
        instruction(MULTIPLY, immediate=16),
        instruction(ADD, immediate=8),
    ]
    assert bytes(code) == b"".join([*others, *inserted])


def test_calls_lead_to_the_kernels_function_or_to_what_is_appended() -> None:
    """A call is relative to the instruction behind it; other calls, and what only looks like one, stay."""
    helper, wide = instruction(CALL, immediate=14), instruction(LOAD_MAP) + instruction(0, immediate=0x7FFF0002)
    code = bytearray(instruction(CALL, immediate=0x7FFF0002) + helper + wide + instruction(CALL, immediate=0x7FFF0001))

    assert redirect(code, 0x7FFF0001, 99)
    assert redirect(code, 0x7FFF0002, None)
    assert not redirect(code, 0x7FFF0003, None)

    to_program, to_kernel = struct.pack("<BBhi", CALL, 0x10, 0, 4), struct.pack("<BBhi", CALL, 0x20, 0, 99)
    assert bytes(code) == to_program + helper + wide + to_kernel


def test_a_number_that_does_not_fit_is_named() -> None:
    """A cut one would be another member's."""
    code = bytearray(instruction(LOAD_WORD, offset=TGID))

    with pytest.raises(EnvironmentUnsupported, match="O_TASK_TGID is 40000, too large"):
        apply(code, [Relocation(0, "O_TASK_TGID", 0)], {"O_TASK_TGID": 40000})


def test_placeholders_fit_into_a_load_and_are_no_offsets_in_the_programs_own_structs() -> None:
    """The largest struct ends before the first one, and 16 bits with a sign hold the last one."""
    source = SOURCE.read_text()

    assert f"_Static_assert(sizeof(struct syscall_record) <= {relocations._FIRST:#x}" in source
    assert relocations._END <= 1 << 15
