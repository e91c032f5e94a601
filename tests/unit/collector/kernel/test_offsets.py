import os
import platform
from pathlib import Path

import pytest

from collector.kernel import arm64, offsets, x86_64
from collector.kernel.architecture import ARCHITECTURES
from collector.kernel.btf import VMLINUX, Btf
from collector.kernel.offsets import URING_FEATURE, features_off, fingerprint, numbers_of, without_types
from foundation.errors import EnvironmentUnsupported
from tests.unit.collector.kernel import blob
from tests.unit.collector.kernel.blob import Blob

ON_V1 = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\npids\t8\t4\t1\n"
ON_V2 = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\npids\t0\t4\t1\n"

OVERLAY = ("ovl_inode.__upperdentry", "ovl_inode.vfs_inode")


def kernel(
    rename: dict[str, str],
    *,
    leave_out: tuple[str, ...] = (),
    tracepoint: str = "btf_trace_sys_exit",
    functions: dict[str, int] | None = None,
) -> bytes:
    """Build a kernel that has each member by its newest name, unless renamed or left out, each at a unique offset."""
    structs: dict[str, dict[str, list[str]]] = {}
    registers = (path for each in ARCHITECTURES.values() for path in each.REGISTERS.values())
    for paths in (*offsets._OFFSETS_MEMBERS.values(), *registers, *OVERLAY, "css_set.subsys"):
        newest = paths.split("|")[0].split("+")[0]
        if newest not in leave_out:
            struct, member, *inner = rename.get(newest, newest).split(".")
            structs.setdefault(struct, {}).setdefault(member, []).extend(inner)
    made = Blob()
    integer = made.add(blob.INT, "int", 8, bytes(4))
    made.add(blob.TYPEDEF, tracepoint, integer)
    for function, parameters in (functions or {"bpf_rdonly_cast": 2}).items():
        signature = made.add(blob.FUNC_PROTO, "", 0, bytes(8 * parameters), parameters)
        made.add(blob.FUNC, function, signature)
    for struct, members in structs.items():
        rows = []
        for index, (member, inner) in enumerate(members.items()):
            target = integer
            if inner:
                # Never at 0, so that both parts of a path count.
                target = made.aggregate(
                    blob.STRUCT, "", 64, [(name, integer, 32 * number) for number, name in enumerate(inner, 1)]
                )
            rows.append((member, target, 512 * index))
        made.aggregate(blob.STRUCT, struct, 64 * len(rows), rows)
    made.aggregate(blob.STRUCT, "upid", 16, [("nr", integer, 0)])
    made.enumeration("cgroup_subsys_id", {"pids_cgrp_id": 9})
    return made.data()


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    """Return a /proc/cgroups with the pids controller in a hierarchy of its own."""
    path = tmp_path / "cgroups"
    path.write_text(ON_V1)
    return path


def test_a_renamed_member_is_found_by_its_older_name(tmp_path: Path, v1: Path) -> None:
    """kernfs_node.parent became __parent in Linux 6.18."""
    newer, older = tmp_path / "newer", tmp_path / "older"
    newer.write_bytes(kernel({}))
    older.write_bytes(
        kernel({"kernfs_node.__parent": "kernfs_node.parent", "inode.i_ctime_sec": "inode.i_ctime.tv_sec"})
    )

    found = without_types(numbers_of(newer, v1))

    older_layout = without_types(numbers_of(older, v1))
    assert older_layout == {**found, "O_INODE_CTIME_SEC": found["O_INODE_CTIME_SEC"] + 4}


def test_arguments_are_where_each_architecture_has_them(tmp_path: Path, v1: Path) -> None:
    """arm64 has an array of registers, and apart from it the first one, which the result replaces."""
    path = tmp_path / "btf"
    path.write_bytes(kernel({}))

    intel, arm = (numbers_of(path, v1, architecture) for architecture in (x86_64, arm64))

    assert intel.keys() == arm.keys()
    assert arm["O_ARGUMENT_3"] == arm["O_ARGUMENT_2"] + 8 == Btf(path.read_bytes()).offset("pt_regs.regs") + 16
    assert len({intel[f"O_ARGUMENT_{which}"] for which in range(1, 7)}) == 6
    assert arm["O_CALL"] != intel["O_CALL"]


def test_what_a_kernel_may_lack_is_left_out(tmp_path: Path, v1: Path) -> None:
    """A kernel without overlayfs still has everything essential."""
    path = tmp_path / "btf"
    path.write_bytes(kernel({}, leave_out=OVERLAY))

    found = numbers_of(path, v1)

    assert not {"O_OVL_UPPER", "N_OVERLAY"} & found.keys()
    assert "O_TASK_TGID" in found


def test_objects_are_read_by_helper_calls_where_the_kernel_has_no_cast(tmp_path: Path, v1: Path) -> None:
    """Its numbers are those of another kernel without the types of objects."""
    newer, older = tmp_path / "newer", tmp_path / "older"
    newer.write_bytes(kernel({}))
    older.write_bytes(kernel({}, functions={"bpf_cast_to_kern_ctx": 2}))

    found = numbers_of(newer, v1)

    assert {"TYPE_DENTRY", "TYPE_PATH", "N_CAST"} <= found.keys()
    assert numbers_of(older, v1) == without_types(found)
    assert not [name for name in without_types(found) if name.startswith(("TYPE_", "N_CAST"))]


@pytest.mark.parametrize(
    ("member", "feature"),
    [
        ("tty_driver.minor_start", "terminals of processes"),
        ("task_struct.loginuid", "login users"),
        ("unix_sock.peer", "names of Unix sockets"),
        ("sock_common.skc_v6_daddr", "addresses of IPv6 sockets"),
        ("inet_bind_bucket.fastreuse", "which end of a TCP connection is the server"),
        ("filename.uptr", "the kernel's copies of paths"),
    ],
)
def test_only_the_feature_that_reads_a_missing_member_is_off(
    tmp_path: Path, v1: Path, member: str, feature: str
) -> None:
    """And it is named with the member and the kernel; all other numbers are as they were."""
    whole, lacking = tmp_path / "whole", tmp_path / "lacking"
    whole.write_bytes(kernel({}))
    lacking.write_bytes(kernel({member: f"{member}_renamed"}))

    expected, found = numbers_of(whole, v1), numbers_of(lacking, v1)

    assert [*features_off(whole)] == [URING_FEATURE]
    assert {expected[number] - found[number] for number in offsets._LACKING} == {0, 1}
    assert len(expected.keys() - found.keys()) == 1
    assert {name: found[name] for name in found.keys() - offsets._LACKING} == {
        name: expected[name] for name in found.keys() - offsets._LACKING
    }
    [off, uring] = features_off(lacking)
    assert off.startswith(feature)
    assert uring == URING_FEATURE
    assert features_off(lacking)[off] == f"this kernel ({platform.release()}) has no {member}"


def test_copies_of_paths_need_no_address_where_programs_see_them_being_made(tmp_path: Path, v1: Path) -> None:
    """Linux 7.0 removed filename.uptr; what a function returned is behind its parameters."""
    path = tmp_path / "btf"
    functions = {"bpf_rdonly_cast": 2, "getname_flags": 2, "do_getname": 3, "putname": 1}
    path.write_bytes(kernel({}, leave_out=("filename.uptr",), functions=functions))

    found = numbers_of(path, v1)

    assert found["N_GETNAME"] == Btf(path.read_bytes()).type_id("do_getname", blob.FUNC)
    assert (found["O_GETNAME_RESULT"], found["N_PATH_COPIES"]) == (24, 1)
    assert [*features_off(path)] == [URING_FEATURE]


def test_a_member_that_must_be_there_is_named(tmp_path: Path, v1: Path) -> None:
    """Never guess an offset: a wrong one yields plausible numbers."""
    path = tmp_path / "btf"
    path.write_bytes(kernel({}, leave_out=("kernfs_node.__parent",)))

    with pytest.raises(EnvironmentUnsupported, match=r"no kernfs_node\.__parent or kernfs_node\.parent"):
        numbers_of(path, v1)


def test_a_kernel_without_the_tracepoint_is_reported(tmp_path: Path, v1: Path) -> None:
    """The program is loaded by the tracepoint's type."""
    path = tmp_path / "btf"
    path.write_bytes(kernel({}, tracepoint="btf_trace_sys_enter"))

    with pytest.raises(EnvironmentUnsupported, match="no tracepoint sys_exit"):
        numbers_of(path, v1)


@pytest.mark.parametrize("content", [None, b"", b"not BTF, but long enough to look like a header of it"])
def test_a_kernel_without_type_information_is_reported(tmp_path: Path, v1: Path, content: bytes | None) -> None:
    """The remedy names the kernel option."""
    path = tmp_path / "btf"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(EnvironmentUnsupported, match=str(path)) as caught:
        numbers_of(path, v1)
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.remedy


def test_a_kernel_is_known_again_by_all_that_its_numbers_depend_on(tmp_path: Path, v1: Path) -> None:
    """The kernel's types, and the hierarchy of the pids controller; without types the reason is the same."""
    one, other, v2 = tmp_path / "one", tmp_path / "other", tmp_path / "v2"
    one.write_bytes(kernel({}))
    other.write_bytes(kernel({"kernfs_node.__parent": "kernfs_node.parent"}))
    v2.write_text(ON_V2)

    assert fingerprint(one, v1) == fingerprint(one, v1)
    assert len({fingerprint(one, v1), fingerprint(other, v1), fingerprint(one, v2)}) == 3
    with pytest.raises(EnvironmentUnsupported, match="no type information"):
        fingerprint(tmp_path / "none", v1)


@pytest.mark.parametrize(("table", "is_v2"), [(ON_V1, False), (ON_V2, True), ("#subsys_name\n", True), (None, True)])
def test_containers_are_identified_by_the_hierarchy_that_has_pids(
    tmp_path: Path, table: str | None, is_v2: bool
) -> None:
    """Hierarchy 0 is the unified one; a kernel without v1 need not have the file."""
    (tmp_path / "btf").write_bytes(kernel({}))
    cgroups = tmp_path / "cgroups"
    if table is not None:
        cgroups.write_text(table)

    found = numbers_of(tmp_path / "btf", cgroups)

    assert ("N_PIDS_ON_V1" not in found) is is_v2
    assert ("O_CSS_SET_PIDS" not in found) is is_v2


@pytest.mark.skipif("CI" not in os.environ and not VMLINUX.exists(), reason="needs a BTF kernel")
def test_the_running_kernel_has_everything() -> None:
    """It also has what every kernel has."""
    found = numbers_of()

    assert found["O_PATH_DENTRY"] == 8
    assert found["N_UPID_BYTES"] == Btf(VMLINUX.read_bytes()).size("upid")
    assert found["O_SOCK_V6_DADDR"] > found["O_SOCK_FAMILY"]
