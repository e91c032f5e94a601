import json
import os
import shutil
import subprocess

import pytest

from collector.kernel.btf import FUNC, VMLINUX, Btf, describe_functions
from tests.unit.collector.kernel import blob
from tests.unit.collector.kernel.blob import Blob


@pytest.fixture
def btf() -> Btf:
    """Return types of every kind that has its own kind of tail, with structs after them."""
    made = Blob()
    integer = made.add(blob.INT, "int", 4, bytes(4))
    pointer = made.add(blob.PTR, size_or_type=integer)
    made.add(blob.ARRAY, tail=bytes(12))
    made.add(blob.FWD, "later")
    made.add(blob.FUNC_PROTO, size_or_type=integer, tail=bytes(16), members=2)
    made.add(blob.FUNC, "later", 5)
    made.add(blob.VAR, "variable", integer, bytes(4))
    made.add(blob.DATASEC, "section", 8, bytes(24), 2)
    made.add(blob.FLOAT, "double", 8)
    made.add(blob.DECL_TAG, "tag", integer, bytes(4))
    made.add(blob.ENUM64, "wide", 8, bytes(24), 2)
    made.enumeration("cgroup_subsys_id", {"cpuset_cgrp_id": 0, "pids_cgrp_id": 11, "negative": -1})
    union = made.aggregate(blob.UNION, "", 8, [("x", integer, 0), ("y", pointer, 0)])
    inner = made.aggregate(blob.STRUCT, "inner", 24, [("a", integer, 0), ("", union, 64), ("b", integer, 128)])
    typedef = made.add(blob.TYPEDEF, "inner_t", inner)
    constant = made.add(blob.CONST, size_or_type=made.add(blob.VOLATILE, size_or_type=typedef))
    tagged = made.add(blob.TYPE_TAG, "rcu", constant)
    outer = made.aggregate(
        blob.STRUCT, "outer", 64, [("plain", inner, 0), ("wrapped", tagged, 256), ("p", pointer, 448)]
    )
    made.aggregate(blob.STRUCT, "inner_", 4, [("z", integer, 0)])
    made.aggregate(blob.STRUCT, "bits", 8, [("low", integer, 3 << 24), ("high", integer, 5 << 24 | 32)], flag=True)
    made.add(blob.TYPEDEF, "outer_t", outer)
    return Btf(made.data())


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        ("inner.a", 0),
        ("inner.b", 16),
        ("inner.x", 8),  # of an unnamed union
        ("inner.y", 8),
        ("inner_t.b", 16),  # by a typedef
        ("outer.plain.b", 16),
        ("outer.wrapped", 32),
        ("outer.wrapped.b", 48),  # through const, volatile, a tag and a typedef
        ("outer.wrapped.y", 40),
        ("outer.p", 56),
        ("outer_t.p", 56),
        ("inner_.z", 0),
        ("bits.low", 0),  # offsets of bit fields have their widths in the upper bits
        ("bits.high", 4),
    ],
)
def test_a_member_is_found(btf: Btf, path: str, offset: int) -> None:
    """Whatever wraps it."""
    assert btf.offset(path) == offset


@pytest.mark.parametrize("path", ["inner.c", "nothing.a", "outer.p.a", "inner.a.b", "int.a", "nn", "wide.x", "later.a"])
def test_a_member_that_is_not_there_is_a_key_error(btf: Btf, path: str) -> None:
    """A pointer is not followed, and a partial name doesn't match."""
    with pytest.raises(KeyError):
        btf.offset(path)


@pytest.mark.parametrize(("name", "size"), [("inner", 24), ("inner_t", 24), ("outer", 64)])
def test_a_struct_has_its_size(btf: Btf, name: str, size: int) -> None:
    """By its name or a typedef's."""
    assert btf.size(name) == size


def test_an_enum_has_its_values(btf: Btf) -> None:
    """Including negative ones."""
    assert btf.enum("cgroup_subsys_id") == {"cpuset_cgrp_id": 0, "pids_cgrp_id": 11, "negative": -1}
    with pytest.raises(KeyError):
        btf.enum("inner")


@pytest.mark.parametrize("data", [b"", b"\x7fELF" + bytes(60), b"\x9f\xeb", b"\xeb\x9f" + bytes(60)])
def test_what_is_no_btf_is_refused(data: bytes) -> None:
    """The file may contain anything."""
    with pytest.raises(ValueError, match="not a BTF blob"):
        Btf(data)


@pytest.mark.skipif(
    "CI" not in os.environ and (not VMLINUX.exists() or not shutil.which("bpftool")),
    reason="needs a BTF kernel and bpftool",
)
def test_offsets_of_the_running_kernel_are_bpftool_s() -> None:
    """Another reader of the same blob must agree on every plain member of the most important structs."""
    expected = ("task_struct", "cred", "file", "dentry", "mm_struct", "sock_common", "signal_struct", "kernfs_node")
    command = ["bpftool", "--json", "btf", "dump", "file", str(VMLINUX), "format", "raw"]
    rows = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["types"]
    structs = {row["name"]: row for row in reversed(rows) if row["kind"] == "STRUCT" and row["name"] in expected}
    btf = Btf(VMLINUX.read_bytes())

    assert structs.keys() == set(expected)
    for name, row in structs.items():
        assert btf.size(name) == row["size"]
        members = {each["name"]: each["bits_offset"] for each in row["members"] if each["name"] != "(anon)"}
        assert {each: btf.offset(f"{name}.{each}") for each in members} == {
            each: bits // 8 for each, bits in members.items()
        }


def test_described_functions_are_found_by_their_names() -> None:
    """The kernel reads what is written here as it writes its own."""
    data, ids = describe_functions(("on_exec", "walk_path"))

    assert [Btf(data).type_id(name, FUNC) for name in ("on_exec", "walk_path")] == ids
