"""Offsets of io_uring's requests in the kernel, and the reason if they are missing."""

import pytest

from collector.kernel import offsets
from collector.kernel.btf import Btf
from collector.kernel.offsets import uring_layout
from tests.unit.collector.kernel import blob
from tests.unit.collector.kernel.blob import Blob

Members = dict[str, "Members"]


def kernel(*, without: str = "", parameters: dict[str, int] | None = None) -> Btf:
    """Build a kernel that has everything needed but one member; each struct's first member is at offset 8."""
    structs: Members = {}
    for path in offsets._MEMBERS.values():
        inner = structs
        for name in () if path == without else path.split("."):
            inner = inner.setdefault(name, {})
    made = Blob()
    for struct, members in structs.items():
        aggregate(made, struct, members)
    made.enumeration("", {"SOMETHING_BIT": 1, "REQ_F_CREDS_BIT": 19, "REQ_F_CQE_SKIP_BIT": 6})
    made.enumeration("", {"REQ_F_FIXED_FILE_BIT": 0})
    for name, count in {**offsets._FIRST_OF, **(parameters or {})}.items():
        prototype = made.add(blob.FUNC_PROTO, "", 0, bytes(8 * count), count)
        made.add(blob.TYPEDEF, f"btf_trace_{name}", made.add(blob.PTR, "", prototype))
    return Btf(made.data())


def aggregate(made: Blob, name: str, members: Members) -> int:
    """Add a struct and the structs inside it."""
    if not members:
        return made.add(blob.INT, "int", 8, bytes(4))
    targets = [(member, aggregate(made, "", inner)) for member, inner in members.items()]
    rows = [(member, target, 64 * index) for index, (member, target) in enumerate(targets, 1)]
    return made.aggregate(blob.STRUCT, name, 8 * len(rows) + 8, rows)


def test_a_kernel_that_has_everything() -> None:
    """Offsets and bit numbers, including those of anonymous enums."""
    layout = uring_layout(kernel())

    assert layout.lacking == ""
    assert layout.numbers["N_URING"] == 1
    assert (layout.numbers["O_REQ_OPCODE"], layout.numbers["O_REQ_FLAGS"]) == (8, 16)
    assert layout.numbers["O_REQ_FD"] == layout.numbers["O_REQ_USER_DATA"] + 8 == 24 + 16
    assert (layout.numbers["N_REQ_CREDS"], layout.numbers["N_REQ_FIXED_FILE"]) == (19, 0)


@pytest.mark.parametrize("missing", ["io_kiocb.opcode", "io_mkdir.filename", "io_ring_ctx.file_table.data.nr"])
def test_a_kernel_that_lacks_a_member(missing: str) -> None:
    """All of io_uring is left out, and the reason names the missing member."""
    layout = uring_layout(kernel(without=missing))

    assert (layout.numbers, layout.lacking) == ({}, f"this kernel has no {missing}")


def test_a_kernel_without_io_uring() -> None:
    """CONFIG_IO_URING is off."""
    assert uring_layout(Btf(Blob().data())).lacking == "this kernel has no io_uring_submit_req"


def test_a_kernel_whose_tracepoint_has_other_fields() -> None:
    """Its arguments would be read wrongly."""
    layout = uring_layout(kernel(parameters={"io_uring_complete": 8}))

    assert layout.numbers == {}
    assert layout.lacking == "this kernel's tracepoint io_uring_complete has unexpected parameters"
