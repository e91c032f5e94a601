import pytest

from collector.processes.users import inside_id, parse_id_map
from collector.procfs.parse import (
    Mounted,
    parse_cgroup,
    parse_cmdline,
    parse_mountinfo,
    parse_stat,
    parse_status,
    tty_number,
)

STAT = b"77 (%s) S 5 77 77 34816 77 4194304 1 0 0 0 0 0 0 0 20 0 1 0 130936 3133440 393 1"

STATUS = b"""Name:\tx\\nUid:\t9\t9\t9\t9
Umask:\t0022
State:\tS (sleeping)
Tgid:\t77
Pid:\t77
PPid:\t5
Uid:\t1000\t33\t0\t0
Gid:\t1000\t34\t0\t0
NStgid:\t77\t1
NSpid:\t77\t1
NSpgid:\t70\t2
NSsid:\t60\t0
CapInh:\t0000000000000001
CapPrm:\t000001ffffffffff
CapEff:\t0000000000000002
"""


@pytest.mark.parametrize("name", [b"cat", b"x) R 1 1 1", b"(", b")", b"a b\n", b"\xff", b""])
def test_a_name_cannot_shift_the_fields_of_stat(name: bytes) -> None:
    """The name ends at the last parenthesis, whatever it contains."""
    stat = parse_stat(STAT.replace(b"%s", name))

    assert stat is not None
    assert stat.comm == name.decode("utf-8", "surrogateescape")
    assert (stat.ppid, stat.tty, stat.start_ticks, stat.is_kernel_thread) == (5, 34816, 130936, False)


@pytest.mark.parametrize("text", [b"", b"77 (cat", b"77 (cat) S 1", b"77 (cat) " + b"x " * 40])
def test_a_stat_that_was_cut_gives_nothing(text: bytes) -> None:
    """A process may end while its files are read."""
    assert parse_stat(text) is None


def test_status_gives_effective_ids_and_both_ends_of_namespaced_ones() -> None:
    """The first number is the host's, the last the process's own."""
    status = parse_status(STATUS)

    assert status is not None
    assert (status.tgid, status.uid, status.gid) == (77, 33, 34)
    assert (status.vpid, status.pgid, status.vpgid, status.sid) == (1, 70, 2, 60)
    assert (status.cap_inheritable, status.cap_permitted, status.cap_effective) == (1, 0x1FFFFFFFFFF, 2)


@pytest.mark.parametrize("text", [b"", b"Name:\tx\n", STATUS.replace(b"Uid:\t1000", b"Uid:\tx").replace(b"33", b"y")])
def test_a_status_that_was_cut_gives_nothing(text: bytes) -> None:
    """A partial process counts as none."""
    assert parse_status(text) is None


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (0, 0),
        (34816, 34816),
        (34819, 34819),
        (1025, 1025),
        (34816 | 1 << 20, 34816 + 256),
        (-1, (0xFFF << 8) | 0xFFFFF),
    ],
)
def test_terminals_are_numbered_as_the_kernel_side_does(device: int, expected: int) -> None:
    """34816 is the first pseudo terminal; minors above 255 are in the upper bits of what /proc shows."""
    assert tty_number(device) == expected


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"9:name=systemd:/\n8:pids:/docker/abc\n4:memory:/process_api/4d\n0::/x\n", "/docker/abc"),
        (b"0::/system.slice/docker-abc.scope\n", "/system.slice/docker-abc.scope"),
        (b"4:cpu,pids:/a:b\n0::/\n", "/a:b"),
        (b"0::/\n", "/"),
        (b"", None),
        (b"nonsense\n", None),
    ],
)
def test_the_cgroup_is_the_one_that_the_kernel_side_reports(text: bytes, path: str | None) -> None:
    """The pids hierarchy on v1, else the unified one; a memory cgroup doesn't count."""
    assert parse_cgroup(text) == path


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (b"", ()),
        (b"cat\0", ("cat",)),
        (b"cat\0\0x\0", ("cat", "", "x")),
        (b"\0", ("",)),
        (b"a\xff\0", ("a\udcff",)),
        (b"set by the process itself", ("set by the process itself",)),
    ],
)
def test_command_lines_are_split_at_zeros(text: bytes, arguments: tuple[str, ...]) -> None:
    """Empty arguments count; invalid UTF-8 stays distinguishable."""
    assert parse_cmdline(text) == arguments


def test_a_huge_command_line_is_cut_as_at_exec() -> None:
    """Both sources of it give the same result."""
    assert parse_cmdline(b"x" * 10_000) == ("x" * 4095,)


def test_mounts_are_reported_with_file_system_and_options() -> None:
    """The options of overlays list their layers."""
    mounts = parse_mountinfo(
        b"21 1 0:20 / / rw,relatime shared:1 - overlay none rw,lowerdir=/a:/b\n"
        b"22 21 0:21 / /etc rw - fuse.evil evil rw\n23 21 0:22 / /data rw - nfs4 srv:/ rw\nbroken\n"
    )

    assert mounts == [
        Mounted("/", "overlay", "0:20", "rw,lowerdir=/a:/b"),
        Mounted("/etc", "fuse.evil", "0:21", "rw"),
        Mounted("/data", "nfs4", "0:22", "rw"),
    ]


def test_ids_are_mapped_into_a_user_namespace() -> None:
    """Files of rootless containers contain their own ids."""
    id_map = parse_id_map("         0     100000      65536\n     70000     1000          1\n")

    assert [inside_id(each, id_map) for each in (100_000, 100_033, 1000, 5)] == [0, 33, 70_000, None]
