"""Offsets of io_uring's requests in the kernel, and the reason if they are missing."""

from collections.abc import Iterable, Sequence

import pytest

from collector.kernel import offsets
from collector.kernel.btf import Btf
from collector.kernel.offsets import uring_layout
from tests.unit.collector.kernel import blob
from tests.unit.collector.kernel.blob import Blob

Members = dict[str, "Members"]
NEWEST = {"io_uring_complete": 4, "io_uring_cqe_overflow": 6, "io_uring_submit_req": 2}


def kernel(
    *,
    without: Sequence[str] = (),
    older: Sequence[str] = (),
    tracepoints: dict[str, int] = NEWEST,
    operations: Iterable[str] = offsets._OPERATIONS.values(),
) -> Btf:
    """Build a kernel that has everything needed but some members, and others by their older names."""
    structs: Members = {}
    for paths in offsets._MEMBERS.values():
        path, inner = paths.split("|")[-1 if paths in older else 0], structs
        for name in () if path in without else path.split("."):
            inner = inner.setdefault(name, {})
    made = Blob()
    for struct, members in structs.items():
        aggregate(made, struct, members)
    made.enumeration("", {"SOMETHING_BIT": 1, "REQ_F_CREDS_BIT": 19, "REQ_F_CQE_SKIP_BIT": 6})
    made.enumeration("", {"REQ_F_FIXED_FILE_BIT": 0, "REQ_F_APOLL_MULTISHOT_BIT": 27})
    made.enumeration("io_uring_op", dict.fromkeys(operations, 1))
    for name, count in tracepoints.items():
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
    layout = uring_layout(kernel(without=[missing]))

    assert layout.numbers == {}
    assert layout.lacking.startswith(f"this kernel has no {missing}")


def test_a_kernel_without_io_uring() -> None:
    """CONFIG_IO_URING is off."""
    assert uring_layout(Btf(Blob().data())).lacking == "this kernel has no io_uring_complete"


def test_a_kernel_whose_tracepoint_has_other_fields() -> None:
    """Its arguments would be read wrongly."""
    layout = uring_layout(kernel(tracepoints=NEWEST | {"io_uring_complete": 5}))

    assert layout.numbers == {}
    assert layout.lacking == "this kernel's tracepoint io_uring_complete has unexpected parameters"


def test_a_kernel_before_the_newest_operations() -> None:
    """Linux 6.1 has another tracepoint, results without their entry in the queue, and a table of files."""
    older = [paths for paths in offsets._MEMBERS.values() if "|" in paths]
    without = [offsets._MEMBERS[name] for name in offsets._OPERATIONS]
    tracepoints = {"io_uring_complete": 8, "io_uring_cqe_overflow": 6, "io_uring_submit_sqe": 3}

    layout = uring_layout(kernel(without=without, older=older, tracepoints=tracepoints, operations=()))

    assert layout.lacking == ""
    assert (layout.numbers["N_COMPLETE_HAS_CQE"], layout.numbers["N_RING_HAS_NODES"]) == (0, 0)
    assert "O_BIND_LENGTH" not in layout.numbers


def test_a_newer_operation_without_its_struct_is_reported() -> None:
    """The kernel has it, so what it does would be reported wrongly."""
    layout = uring_layout(kernel(without=["io_bind.addr_len"]))

    assert layout.lacking == "this kernel has no io_bind.addr_len"
