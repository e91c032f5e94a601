import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.records.decode import as_of, decode, ip_text, unix_text
from collector.records.types import Exec, Exit, File, Fork, ProcessIdentity, Request, Socket, State, Syscall
from schemas.filter import EVERY_VARIABLE
from tests.unit.collector import packed

WHO = ProcessIdentity(time=111, pid=10, tid=11, start_time=222, exec_generation=4, uid=1000, cgroup_id=333)


def syscall(record: bytes) -> Syscall:
    """Decode what must be a system call."""
    found = decode(record)
    assert isinstance(found, Syscall)
    return found


def execution(record: bytes) -> Exec:
    """Decode what must be an exec, with all variables that were sent."""
    found = decode(record, frozenset({EVERY_VARIABLE}))
    assert isinstance(found, Exec)
    return found


class TestSyscalls:
    def test_every_piece_is_found_at_its_place(self) -> None:
        """The parts have another order than their lengths."""
        found = syscall(
            packed.syscall(
                event=5,
                result=-2,
                fd=9,
                mode=0o100644,
                ino=77,
                dev=88,
                magic=99,
                kernel_path=b"/run/x\0",
                path1=b"x\0",
                directory1=b"/run\0",
                path2=b"y\0",
                directory2=b"/tmp\0",
                blob1=b"one\0",
                blob2=b"two",
            )
        )

        assert (found.who, found.event, found.cpu, found.vtid, found.result) == (WHO, 5, 3, 12, -2)
        assert (found.arguments, found.fd, found.is_compat) == ((1, 2, 3, 4, 5, 6), 9, False)
        assert (found.path1, found.directory1, found.path2, found.directory2) == ("x", "/run", "y", "/tmp")
        assert (found.blob1, found.blob2, found.socket) == (b"one\0", b"two", None)
        assert found.file == File(
            mode=0o100644,
            dev=88,
            ino=77,
            magic=99,
            path="/run/x",
            is_pseudo=False,
            is_created=False,
            is_upper_layer=False,
            is_lower_layer=False,
        )

    def test_what_could_not_be_read_is_none(self) -> None:
        """An unreadable path differs from an empty one."""
        unread, empty = syscall(packed.syscall()), syscall(packed.syscall(path1=b"\0"))

        assert (unread.path1, unread.path2, unread.directory1, unread.directory2) == (None, None, None, None)
        assert empty.path1 == ""

    def test_registers_are_unsigned(self) -> None:
        """All 64 bits are preserved."""
        assert syscall(packed.syscall(arguments=[2**64 - 1] * 6)).arguments == (2**64 - 1,) * 6

    @pytest.mark.parametrize(("fd", "mode", "expected"), [(-1, 0, None), (3, 0, 3), (-5, 0, -5), (3, 0o100600, 3)])
    def test_a_call_without_a_descriptor_has_none(self, fd: int, mode: int, expected: int | None) -> None:
        """-1 means no descriptor, unless a file was found behind it."""
        found = syscall(packed.syscall(fd=fd, mode=mode))

        assert found.fd == expected
        assert (found.file is None) == (mode == 0)

    @pytest.mark.parametrize(
        ("flags", "upper", "lower"),
        [(0, False, False), (packed.OVERLAY, False, True), (packed.OVERLAY | packed.UPPER, True, False)],
    )
    def test_a_file_of_an_overlay_is_of_one_layer(self, flags: int, upper: bool, lower: bool) -> None:
        """A file that was not copied up is on the lower layer."""
        file = syscall(packed.syscall(flags=flags, fd=3, mode=0o100644)).file

        assert file is not None
        assert (file.is_upper_layer, file.is_lower_layer) == (upper, lower)

    def test_flags_describe_file_and_entry(self) -> None:
        """Created, pseudo and 32-bit are bits of one word."""
        flags = packed.COMPAT | packed.PSEUDO | packed.CREATED
        found = syscall(packed.syscall(flags=flags, fd=3, mode=0o100644, kernel_path=b"memfd:x\0"))

        assert found.is_compat
        assert found.file is not None
        assert (found.file.is_pseudo, found.file.is_created, found.file.path) == (True, True, "memfd:x")

    def test_a_path_of_too_many_components_is_missing(self) -> None:
        """The walk gives up, and the path is empty."""
        found = syscall(packed.syscall(flags=packed.KERNEL_PATH_CUT, fd=3, mode=0o100644))

        assert found.file is not None
        assert found.file.path is None

    def test_bytes_that_are_no_utf_8_survive(self) -> None:
        """Names are bytes to the kernel."""
        found = syscall(packed.syscall(path1=b"/tmp/\xff\xc3\0"))

        assert found.path1 == "/tmp/\udcff\udcc3"
        assert found.path1.encode("utf-8", "surrogateescape") == b"/tmp/\xff\xc3"

    def test_a_text_ends_at_its_nul(self) -> None:
        """A program may write anything after the NUL."""
        assert syscall(packed.syscall(path1=b"/etc/passwd\0/harmless")).path1 == "/etc/passwd"


class TestSockets:
    def test_an_ipv4_socket_has_two_ends(self) -> None:
        """Ports are in host order."""
        info = packed.socket_info(
            socket.AF_INET,
            local_port=443,
            remote_port=50000,
            state=1,
            local=socket.inet_aton("10.0.0.1"),
            remote=socket.inet_aton("192.0.2.7"),
        )
        found = syscall(packed.syscall(fd=3, mode=0o140777, socket=info, path1=b"after\0"))

        assert found.socket == Socket(
            family=socket.AF_INET,
            type=1,
            protocol=6,
            state=1,
            local_ip="10.0.0.1",
            remote_ip="192.0.2.7",
            local_port=443,
            remote_port=50000,
            unix_path="",
        )
        assert found.file is None
        assert found.path1 == "after"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (b"/run/x.sock\0", "/run/x.sock"),
            (b"/run/x.sock", "/run/x.sock"),
            (b"\0bus", "@bus"),
            (b"\0a\0b", "@a\0b"),
            (b"\0bus\0\0\0", "@bus"),
            (b"", ""),
        ],
    )
    def test_a_unix_socket_has_a_name(self, name: bytes, expected: str) -> None:
        """An abstract name begins with @ and may contain NULs."""
        found = syscall(packed.syscall(fd=3, mode=0o140777, socket=packed.socket_info(socket.AF_UNIX, name=name)))

        assert found.socket is not None
        assert (found.socket.unix_path, found.socket.local_ip) == (expected, "")
        assert unix_text(name) == expected

    @pytest.mark.parametrize(
        ("family", "address", "expected"),
        [
            (socket.AF_INET, "7f000001", "127.0.0.1"),
            (socket.AF_INET6, "00000000000000000000000000000001", "::1"),
            (socket.AF_INET6, "20010db8000000000000000000000001", "2001:db8::1"),
            (socket.AF_INET6, "00000000000000000000ffffc0000207", "192.0.2.7"),
            (socket.AF_INET6, "00000000000000000000000000000000", "::"),
            (socket.AF_INET6, "000000000000000000000000c0000207", "::192.0.2.7"),
            (socket.AF_NETLINK, "00000000000000000000000000000001", ""),
        ],
    )
    def test_an_ipv4_address_in_ipv6_dress_is_ipv4(self, family: int, address: str, expected: str) -> None:
        """Only ::ffff:0:0/96 contains mapped addresses."""
        assert ip_text(family, bytes.fromhex(address)) == expected


class TestProcesses:
    def test_an_exec_reports_process_and_program(self) -> None:
        """Every member of the struct ends up in its field."""
        found = execution(
            packed.process(
                packed.EXEC,
                exepath=b"/usr/bin/bash\0",
                cwd=b"/root\0",
                args=b"bash\0-c\0id\0",
                env=b"A=1\0B=\0",
                filename=b"/bin/bash\0",
                cgroup=b"/docker/3d\0",
            )
        )

        assert found == Exec(
            state=State(
                who=WHO,
                ppid=21,
                vpid=22,
                pgid=23,
                vpgid=24,
                sid=25,
                tty=34816,
                loginuid=1000,
                gid=26,
                cap_effective=31,
                cap_permitted=32,
                cap_inheritable=33,
                pid_namespace=27,
                mount_namespace=28,
                pid_namespace_init_start=34,
                comm="bash",
                cwd="/root",
                cgroup="/docker/3d",
            ),
            filename="/bin/bash",
            exepath="/usr/bin/bash",
            codepath="/usr/bin/bash",
            args=("bash", "-c", "id"),
            args_truncated=False,
            env=("A=1", "B="),
            exe_ino=41,
            exe_dev=42,
            exe_mode=0o100755,
            exe_uid=43,
            exe_gid=44,
            exe_ctime=5_000_000_006,
            exe_mtime=7_000_000_008,
            is_upper_layer=False,
            is_lower_layer=False,
            is_from_memfd=False,
            event_type="execve",
            cpu=3,
        )

    def test_a_state_is_the_same_without_the_program(self) -> None:
        """Its struct is the exec's, with the later members empty."""
        found = decode(packed.process(packed.STATE, cwd=b"/srv\0", cgroup=b"/\0"))

        assert isinstance(found, State)
        assert (found.who, found.cwd, found.cgroup, found.cap_effective) == (WHO, "/srv", "/", 31)

    def test_no_login_is_minus_one(self) -> None:
        """The kernel uses the greatest u32."""
        found = decode(packed.process(packed.STATE, loginuid=2**32 - 1))

        assert isinstance(found, State)
        assert found.loginuid == -1

    @pytest.mark.parametrize(
        ("args", "expected"),
        [
            (b"", ()),
            (b"\0", ("",)),
            (b"a\0", ("a",)),
            (b"a\0\0b\0", ("a", "", "b")),
            (b"a\0cut of", ("a", "cut of")),
            (b"a\0\xff\0", ("a", "\udcff")),
        ],
    )
    def test_arguments_are_distinguished_by_their_nuls(self, args: bytes, expected: tuple[str, ...]) -> None:
        """Empty arguments count, and no arguments differ from one empty argument."""
        assert execution(packed.process(packed.EXEC, args=args)).args == expected

    @pytest.mark.parametrize(
        ("env", "names", "expected"),
        [
            (b"", {"A"}, ()),
            (b"A=1\0AB=2\0B=\0", {"A", "B"}, ("A=1", "B=")),
            (b"A=1\0A=2\0C", {"A", "C"}, ("A=1", "A=2", "C")),
            (b"\xff=\xfe\0B=1\0", {"\udcff"}, ("\udcff=\udcfe",)),
            (b"A=1\0B=2\0", {EVERY_VARIABLE}, ("A=1", "B=2")),
        ],
    )
    def test_only_named_variables_are_shown(self, env: bytes, names: set[str], expected: tuple[str, ...]) -> None:
        """Without any named ones, it is unknown whether there are variables."""
        found = decode(packed.process(packed.EXEC, env=env), frozenset(names))
        other = decode(packed.process(packed.EXEC, env=env))

        assert isinstance(found, Exec)
        assert isinstance(other, Exec)
        assert (found.env, other.env) == (expected, None)

    def test_a_script_has_a_path_of_its_own(self) -> None:
        """Unless the environment changes what its interpreter runs, or wasn't read whole."""
        script = {"exepath": b"/usr/bin/perl\0", "filename": b"/usr/sbin/adduser\0", "flags": packed.SCRIPT}

        def code(**parts: object) -> str | None:
            return execution(packed.process(packed.EXEC, **{**script, **parts})).codepath

        assert code() == code(env=b"LANG=C\0PERL5LIB=\0") == "/usr/sbin/adduser"
        assert code(env=b"PERL5LIB=/tmp\0") is code(flags=packed.SCRIPT | packed.CODE_UNKNOWN) is None
        assert code(flags=0) == "/usr/bin/perl"
        assert code(env=b"LD_PRELOAD=x\0", flags=0) is None
        assert code(env=b"LD_PRELOAD=x\0", flags=packed.SECURE) == "/usr/bin/perl"

    def test_similar_execs_share_their_parts(self) -> None:
        """One with another argument, mark or set of variables shares none."""
        record = packed.process(packed.EXEC, args=b"id\0", env=b"A=1\0")
        first = execution(record)

        assert first.parts is not None
        assert execution(as_of(5, record)).parts is first.parts
        assert execution(packed.process(packed.EXEC, args=b"ids\0", env=b"A=1\0")).parts is not first.parts
        assert (
            execution(packed.process(packed.EXEC, args=b"id\0", env=b"A=1\0", flags=packed.ENV_CUT)).parts
            != first.parts
        )
        other = decode(record, frozenset({"B"}))
        assert isinstance(other, Exec)
        assert (other.env, other.parts is first.parts) == ((), False)

    def test_cut_arguments_are_marked(self) -> None:
        """More than a page of arguments is cut, and of the environment as well."""
        found = execution(packed.process(packed.EXEC, flags=packed.ARGS_CUT, args=b"a\0"))
        assert (found.args_truncated, found.env_truncated) == (True, False)
        found = execution(packed.process(packed.EXEC, flags=packed.ENV_CUT, args=b"a\0"))
        assert (found.args_truncated, found.env_truncated) == (False, True)

    @pytest.mark.parametrize(
        ("flags", "number", "expected"),
        [
            (0, 59, "execve"),
            (0, 322, "execveat"),
            (packed.COMPAT, 11, "execve"),
            (packed.COMPAT, 358, "execveat"),
            (packed.COMPAT, 322, "execveat"),
            (0, 221, "execve"),
            (0, 281, "execveat"),
        ],
    )
    def test_the_call_s_number_identifies_execveat(self, flags: int, number: int, expected: str) -> None:
        """Each architecture and entry has its own numbers; a 32-bit program may be executed by the 64-bit entry."""
        assert execution(packed.process(packed.EXEC, flags=flags, number=number)).event_type == expected

    @pytest.mark.parametrize(
        ("flags", "exepath", "expected"),
        [
            (packed.PSEUDO, b"memfd:payload\0", True),
            (packed.PSEUDO, b"other\0", False),
            (0, b"/memfd:payload\0", False),
        ],
    )
    def test_only_a_memfd_is_a_memfd(self, flags: int, exepath: bytes, expected: bool) -> None:
        """A file on disk may have a similar name."""
        assert execution(packed.process(packed.EXEC, flags=flags, exepath=exepath)).is_from_memfd is expected

    def test_the_bit_that_a_time_was_looked_at_is_no_time(self) -> None:
        """Linux 6.13 and later store it in the nanoseconds."""
        found = execution(packed.process(packed.EXEC, changed=(1, 5 | 1 << 31), modified=(-1, 999_999_999)))

        assert (found.exe_ctime, found.exe_mtime) == (1_000_000_005, -1)

    @pytest.mark.parametrize(("seconds", "expected"), [(2**63 - 1, 2**63 - 1), (-(2**63), -(2**63) + 1)])
    def test_a_time_beyond_64_bits_is_cut(self, seconds: int, expected: int) -> None:
        """On tmpfs any user may give a file any time."""
        assert execution(packed.process(packed.EXEC, modified=(seconds, 0))).exe_mtime == expected

    @pytest.mark.parametrize("argument", [b"x", b"x" * 2000])
    def test_a_program_that_starts_again_is_the_same_program_in_another_process(self, argument: bytes) -> None:
        """Short ones are decoded once; what belongs to the process is its own."""
        first, second = (
            execution(packed.process(packed.EXEC, comm=comm, exepath=b"/e\0", args=b"e\0" + argument + b"\0"))
            for comm in (b"a", b"b")
        )

        assert (first.state.comm, second.state.comm) == ("a", "b")
        assert (second.exepath, second.args) == (first.exepath, first.args) == ("/e", ("e", argument.decode()))

    def test_a_fork_reports_the_child(self) -> None:
        """The head is the parent's."""
        assert decode(packed.fork()) == Fork(
            who=WHO, pid=52, start_time=51, vpid=53, exec_generation=54, real_parent_pid=55
        )

    def test_an_exit_reports_its_status(self) -> None:
        """As returned by wait(2)."""
        assert decode(packed.end()) == Exit(WHO, 0x100, cpu=3)


RECORDS = (
    packed.syscall(path1=b"/a\0", blob2=b"b", fd=1, mode=0o100644, kernel_path=b"/k\0"),
    packed.syscall(fd=1, mode=0o140777, socket=packed.socket_info(2), blob1=b"data"),
    packed.process(packed.EXEC, exepath=b"/e\0", args=b"a\0", cgroup=b"/c\0"),
    packed.process(packed.STATE, cwd=b"/\0", cgroup=b"/c\0"),
    packed.fork(),
    packed.end(),
)


class TestStrangeRecords:
    @pytest.mark.parametrize("kind", [0, 9, 65535])
    def test_an_unknown_kind_is_refused(self, kind: int) -> None:
        """Another version's program may send more kinds."""
        with pytest.raises(ValueError, match=f"unknown record kind: {kind}"):
            decode(packed.head(kind) + bytes(600))

    @pytest.mark.parametrize("record", RECORDS, ids=["file", "socket", "exec", "state", "fork", "exit"])
    def test_a_record_that_is_cut_off_anywhere_is_refused(self, record: bytes) -> None:
        """Half a path is worse than none."""
        decode(record)
        for length in range(len(record)):
            with pytest.raises(ValueError, match="truncated"):
                decode(record[:length])

    @given(st.binary(max_size=700))
    def test_any_bytes_are_a_record_or_refused(self, data: bytes) -> None:
        """Nothing but ValueError is ever raised."""
        with contextlib.suppress(ValueError):
            decode(data)

    @given(kind=st.integers(1, 5), flags=st.integers(0, 65535), rest=st.binary(max_size=700))
    def test_any_bytes_behind_a_good_head_are_a_record_or_refused(self, kind: int, flags: int, rest: bytes) -> None:
        """As above, for the rest of the record."""
        with contextlib.suppress(ValueError):
            decode(packed.head(kind, flags) + rest)


def test_a_request_of_an_io_uring() -> None:
    """The struct that joins it with its result precedes its arguments."""
    record = decode(packed.request(address=1 << 63, ring=2, user_data=3, marks=3, path1=b"/etc\0", blob1=b"how"))

    assert isinstance(record, Request)
    assert (record.address, record.ring, record.user_data) == (1 << 63, 2, 3)
    assert (record.is_done, record.is_untold, record.is_multishot) == (False, True, True)
    assert (record.call.path1, record.call.blob1, record.call.event) == ("/etc", b"how", 7)


def test_a_result_of_an_io_uring() -> None:
    """It contains only the request's result."""
    record = decode(packed.request(address=1, ring=2, user_data=3, kind=packed.RESULT))

    assert isinstance(record, Request)
    assert (record.is_done, record.is_untold, record.is_multishot) == (True, False, False)


@pytest.mark.parametrize("length", [130, 150, 170])
def test_a_request_that_is_cut_off(length: int) -> None:
    """Each of its parts may be truncated."""
    with pytest.raises(ValueError, match="truncated"):
        decode(packed.request(address=1, ring=2, user_data=3, path1=b"/etc\0")[:length])
