import json
import re
import struct
from pathlib import Path

import pytest

from collector.events.system_calls import (
    BY_EVENT,
    CALLS,
    CWD,
    NONE,
    PATHS_ONLY,
    DescriptorFlag,
    descriptors,
    watched_numbers,
)
from collector.kernel import arm64, x86_64
from collector.kernel.architecture import common_open_flags
from schemas.catalog.fields import EVENTS
from schemas.catalog.flags import FLAG_TABLES
from tests.live.needs import lacking
from tests.reference import needs, shared_dir

HEADERS = Path("/usr/include/x86_64-linux-gnu/asm")
FIELDS_USED = shared_dir() / "conformance" / "fields_used.json"
OF_ALIGNED_REGISTERS = {"pread64", "pwrite64", "truncate64", "ftruncate64"}
"""32-bit ARM passes a number of 64 bits in a pair of registers, the first of which is even."""
FIELDS = (
    *("event", "flags", "fd", "path1", "path2", "dir1", "dir2"),
    *("blob1", "blob1_length", "blob2", "blob2_length", "blob1_size", "blob2_size", "filter"),
    "registers",
)
STATE_CHANGING = frozenset(
    {
        *("chdir", "fchdir", "chroot", "prctl", "setns", "unshare", "setsid", "setpgid", "capset"),
        *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid"),
    }
)

# Kernel names whose event type has another name, by Falco's event table.
RENAMED = {
    "pread64": "pread",
    "pwrite64": "pwrite",
    "prlimit64": "prlimit",
    "_llseek": "llseek",
    "fstatat64": "newfstatat",
    "sendfile64": "sendfile",
    "fcntl64": "fcntl",
    "recvmmsg_time64": "recvmmsg",
    "ugetrlimit": "getrlimit",
    "truncate64": "truncate",
    "ftruncate64": "ftruncate",
    "utimensat_time64": "utimensat",
    "clock_settime64": "clock_settime",
    "clock_adjtime64": "clock_adjtime",
}


def event_of(kernel_name: str) -> str:
    """Return the event type of a call by its name in the kernel's tables."""
    name = RENAMED.get(kernel_name, kernel_name)
    return name.removesuffix("32") if name.endswith("32") and name[:-2] in BY_EVENT else name


def unpacked(packed: bytes) -> dict[str, int]:
    """Read struct descriptor of lanner.bpf.c."""
    return dict(zip(FIELDS, struct.unpack("<HH13Bx", packed), strict=True))


@pytest.mark.parametrize("event", BY_EVENT)
def test_arguments_are_falco_s_in_falco_s_order(event: str) -> None:
    """evt.arg.NAME and evt.arg[N] must find what rules mean."""
    assert [argument.name for argument in BY_EVENT[event].arguments] == [param.name for param in EVENTS[event].params]


def test_an_event_type_stands_once() -> None:
    """Two rows with one name would hide each other."""
    assert len(BY_EVENT) == len(CALLS)
    assert [call.number for call in CALLS] == list(range(len(CALLS)))


def test_every_flag_table_exists() -> None:
    """A misspelled one would end the collector at its first event."""
    named = {argument.table for call in CALLS for argument in call.arguments if argument.table}

    assert named <= FLAG_TABLES.keys()


def test_arguments_are_of_falco_s_form() -> None:
    """Rules compare text: hexadecimal numbers and names must be as in Falco."""
    hexadecimal = frozenset({"hex", "x", "hexres", "dev", "cap", "zero", "none"})
    octal = frozenset({"octal", "openmode", "how_mode", "none"})
    wrong = []
    for call in CALLS:
        for argument, param in zip(call.arguments, EVENTS[call.event].params, strict=True):
            name = f"{call.event}.{argument.name}"
            if param.type.startswith(("INT", "UINT")) and param.format == "HEX" and argument.kind not in hexadecimal:
                wrong.append(f"{name} is hexadecimal")
            if param.type.startswith(("INT", "UINT")) and param.format == "OCT" and argument.kind not in octal:
                wrong.append(f"{name} is octal")
            if argument.table and argument.table != param.info:
                wrong.append(f"{name} has the table {param.info}")
    assert not wrong


@needs(FIELDS_USED)
def test_every_event_type_that_upstream_s_rules_require_can_be_watched() -> None:
    """No rule may wait for events that never come."""
    used = {event for event, _ in json.loads(FIELDS_USED.read_text())["evt_types"]}

    assert used <= BY_EVENT.keys()


class TestNumbers:
    @pytest.mark.parametrize(
        ("header", "table"), [("unistd_64.h", x86_64.NATIVE), ("unistd_32.h", x86_64.COMPAT)], ids=["64-bit", "32-bit"]
    )
    def test_numbers_are_the_kernel_s(self, header: str, table: dict[int, str]) -> None:
        """Each number's event type is that of the header's call."""
        path = HEADERS / header
        if not path.exists():
            lacking(f"{path} isn't there")
        found = re.findall(r"#define __NR_(\w+) (\d+)", path.read_text())
        names = {int(number): event_of(name) for name, number in found}

        known = {number: event for number, event in table.items() if number <= max(names)}
        assert {number: names.get(number) for number in known} == known
        missed = {number: name for number, name in names.items() if name in BY_EVENT and number not in table}
        assert not missed

    def test_numbers_of_arm64_are_the_kernel_s(self) -> None:
        """It has the numbers of all newer architectures; from 403 to 423, those of their 32-bit entries."""
        path = Path("/usr/include/asm-generic/unistd.h")
        if not path.exists():
            lacking(f"{path} isn't there")
        found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\n", path.read_text())
        names = {int(number): event_of(name.replace("fstatat", "newfstatat")) for name, number in found}
        names = {number: name for number, name in names.items() if number not in range(403, 424)}

        known = {number: event for number, event in arm64.NATIVE.items() if number <= max(names)}
        assert {number: names.get(number) for number in known} == known
        assert not {number: name for number, name in names.items() if name in BY_EVENT and number not in known}

    def test_numbers_of_32_bit_arm_are_the_kernel_s(self) -> None:
        """Debian's headers of all kernels have them; four calls are left out."""
        paths = sorted(Path("/usr/src").glob("linux-headers-*-common/arch/arm64/include/asm/unistd32.h"))
        if not paths:
            lacking("no headers in /usr/src have arm64's unistd32.h")
        found = re.findall(r"#define __NR_(\w+)\s+(\d+)", paths[-1].read_text())
        names = {int(number): event_of(name) for name, number in found}
        left_out = {int(number) for name, number in found if name in OF_ALIGNED_REGISTERS}

        known = {number: event for number, event in arm64.COMPAT.items() if number <= max(names)}
        assert {number: names.get(number) for number in known} == known
        missed = {number for number, name in names.items() if name in BY_EVENT and number not in known}
        assert missed == left_out

    def test_calls_that_arm64_lacks_have_newer_ones(self) -> None:
        """Rules that name one of them must name what programs on arm64 call instead."""
        newer = {"fork": "clone", "vfork": "clone", "creat": "openat", "access": "", "utime": "utimensat"}
        newer |= {"futimesat": "utimensat", "utimes": "utimensat", "lchown": "fchownat", "rmdir": "unlinkat"}
        newer |= {
            "getdents": "getdents64",
            "stat": "newfstatat",
            "lstat": "newfstatat",
            "epoll_create": "epoll_create1",
        }
        newer |= {event: f"{event}at" for event in ("open", "mkdir", "rename", "link", "unlink", "symlink", "mknod")}
        newer |= {
            "chmod": "fchmodat",
            "chown": "fchownat",
            "pipe": "pipe2",
            "dup2": "dup3",
            "inotify_init": "inotify_init1",
        }
        newer |= {"signalfd": "signalfd4", "eventfd": "eventfd2"}

        assert set(x86_64.NATIVE.values()) - set(arm64.NATIVE.values()) == newer.keys()
        assert set(newer.values()) - {""} <= set(arm64.NATIVE.values())

    def test_socketcalls_are_the_kernel_s(self) -> None:
        """The multiplexer's numbers, from net.h."""
        path = Path("/usr/include/linux/net.h")
        if not path.exists():
            lacking(f"{path} isn't there")
        found = re.findall(r"#define SYS_(\w+)\s+(\d+)", path.read_text())

        assert {int(number): name.lower() for name, number in found} == x86_64.SOCKETCALLS

    def test_every_call_has_a_number(self) -> None:
        """A row without one would never match a call."""
        reached = {*x86_64.NATIVE.values(), *x86_64.COMPAT.values(), *x86_64.SOCKETCALLS.values()}

        assert reached == BY_EVENT.keys()


class TestDescriptors:
    def test_an_open_reads_its_path_and_result(self) -> None:
        """openat(dirfd, path, flags, mode) returns a descriptor."""
        by_number, by_socketcall = descriptors(["openat"])
        found = unpacked(by_number[257])

        assert found["event"] == BY_EVENT["openat"].number
        assert found["flags"] == DescriptorFlag.EMIT | DescriptorFlag.FD_IS_RESULT
        assert (found["fd"], found["path1"], found["dir1"], found["path2"], found["dir2"]) == (NONE, 1, 0, NONE, NONE)
        assert (found["blob1"], found["blob1_size"], found["blob2"], found["blob2_size"]) == (NONE, 0, NONE, 0)
        assert unpacked(by_number[512 + 295]) == found
        assert not by_socketcall

    def test_a_call_of_two_paths_reads_both(self) -> None:
        """renameat2(olddir, old, newdir, new, flags)."""
        found = unpacked(descriptors(["renameat2"])[0][316])

        assert (found["path1"], found["dir1"], found["path2"], found["dir2"]) == (1, 0, 3, 2)

    def test_a_path_of_no_directory_starts_from_the_working_directory(self) -> None:
        """rename(old, new); a link's target is not a file name."""
        renamed = unpacked(descriptors(["rename"])[0][82])
        linked = unpacked(descriptors(["symlinkat"])[0][266])

        assert (renamed["path1"], renamed["dir1"], renamed["path2"], renamed["dir2"]) == (0, CWD, 1, CWD)
        assert (linked["path1"], linked["dir1"], linked["path2"], linked["dir2"]) == (0, NONE, 2, 1)

    def test_an_address_is_the_second_piece_of_memory(self) -> None:
        """connect(fd, address, length)."""
        found = unpacked(descriptors(["connect"])[0][42])

        assert (found["fd"], found["blob1"], found["blob1_size"]) == (0, NONE, 0)
        assert (found["blob2"], found["blob2_size"], found["blob2_length"]) == (1, 128, 2)

    def test_data_is_as_long_as_the_call_returns(self) -> None:
        """Data that was read is as long as the result, data that is written as the argument."""
        read, write = (unpacked(descriptors([event])[0][number]) for event, number in (("read", 0), ("write", 1)))

        assert (read["blob1"], read["blob1_size"], read["blob1_length"]) == (1, 80, NONE)
        assert read["flags"] & DescriptorFlag.BLOB1_RESULT
        assert (write["blob1"], write["blob1_size"], write["blob1_length"]) == (1, 80, 2)
        assert not write["flags"] & DescriptorFlag.BLOB1_RESULT

    def test_an_exec_is_only_reported_where_it_fails(self) -> None:
        """Another probe reports successful ones."""
        assert unpacked(descriptors(["execve"])[0][59])["flags"] & DescriptorFlag.FAILED_ONLY

    def test_a_socket_call_comes_by_three_ways(self) -> None:
        """64-bit, 32-bit, and the older 32-bit multiplexer."""
        by_number, by_socketcall = descriptors(["connect"])

        assert unpacked(by_number[42]) == unpacked(by_number[512 + 362]) == unpacked(by_socketcall[3])
        assert unpacked(by_number[512 + x86_64.SOCKETCALL])["flags"] == DescriptorFlag.SOCKETCALL
        assert by_socketcall.keys() == {3}

    def test_what_nobody_requires_is_not_watched(self) -> None:
        """Each watched call costs every program."""
        by_number, by_socketcall = descriptors([])

        assert {x86_64.NATIVE[number] for number in by_number if number < 512} == STATE_CHANGING
        assert {x86_64.COMPAT[number - 512] for number in by_number if number >= 512} == STATE_CHANGING
        assert not by_socketcall

    def test_arm64_has_two_entries_and_no_multiplexer(self) -> None:
        """Both entries reach the same calls by other numbers."""
        by_number, by_socketcall = descriptors(BY_EVENT, arm64)

        assert by_number.keys() == {*arm64.NATIVE, *(512 + number for number in arm64.COMPAT)}
        assert not by_socketcall
        assert unpacked(by_number[56]) == unpacked(descriptors(BY_EVENT, x86_64)[0][257])
        assert unpacked(by_number[56]) == unpacked(by_number[512 + 322])
        assert watched_numbers(by_number, BY_EVENT, arm64)[35] == PATHS_ONLY

    def test_a_number_is_watched_that_either_entry_gives_a_call(self) -> None:
        """5 is open by the 32-bit entry and fstat by the other; 257 is openat."""
        opens = ["open", "openat"]

        assert {5, 2, 257, 295} <= watched_numbers(descriptors(opens)[0], opens).keys()
        assert max(watched_numbers(descriptors(BY_EVENT)[0], BY_EVENT)) < 512

    def test_paths_are_copied_for_calls_that_are_sent_and_leave_no_open_file(self) -> None:
        """To copy them costs every program: not for opens, nor for a chdir that only changes a process."""
        events = ["openat", "prctl", "unlink", "symlink"]
        tables = (x86_64.NATIVE, x86_64.COMPAT)

        watched = watched_numbers(descriptors(events)[0], events)

        copied = {number for number, how in watched.items() if how == PATHS_ONLY}
        assert copied == {n for table in tables for n, event in table.items() if event in ("unlink", "symlink")}

    def test_what_changes_a_process_is_always_on(self) -> None:
        """The process table depends on it; unless requested, such a call makes no event."""
        quiet, full = descriptors([])[0], descriptors(STATE_CHANGING)[0]

        assert quiet.keys() == full.keys()
        for number, packed in quiet.items():
            flags, full_flags = unpacked(packed)["flags"], unpacked(full[number])["flags"]
            assert flags & DescriptorFlag.STATE
            assert not flags & DescriptorFlag.EMIT
            assert full_flags == flags | DescriptorFlag.EMIT

    def test_what_is_no_system_call_is_left_alone(self) -> None:
        """Rules may name event types that no call produces."""
        assert descriptors(["container", "nothing"]) == descriptors([])

    def test_every_piece_of_memory_fits_a_byte(self) -> None:
        """The kernel side masks sizes by 255."""
        assert all(size <= 255 for call in CALLS for _, size, _ in call.blobs)

    def test_flags_are_the_program_s(self) -> None:
        """Two languages define names and values."""
        source = Path(x86_64.__file__).parents[1].joinpath("bpf", "lanner.bpf.c").read_text()
        found = {name: int(value) for name, value in re.findall(r"\bD_(\w+) = (\d+)", source)}

        assert {name: found.get(name) for name in DescriptorFlag.__members__} == {
            name: int(flag) for name, flag in DescriptorFlag.__members__.items()
        }


@pytest.mark.parametrize(("native", "common"), [(0o1101, 0o1101), (0o2040000, 0o2200000), (0o20040002, 0o20200002)])
def test_flags_of_an_open_mean_the_same_on_arm64(native: int, common: int) -> None:
    """O_DIRECTORY, a part of O_TMPFILE, has x86-64's number in all events."""
    assert common_open_flags(native, arm64) == common
    assert common_open_flags(common, arm64) == native
    assert common_open_flags(native, x86_64) == native
