from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.events.batch_builder import BatchBuilder
from collector.events.build import EventSource, add_exec, add_syscall
from collector.events.network_names import LookedUpNames
from collector.events.system_calls import CALLS, Call
from collector.events.texts import joined
from collector.records.dns import DnsAnswer, written
from collector.records.types import Exec, Syscall
from lanner.ruletest.events.descriptors import sockaddr
from schemas.batch import MISSING_INT, STRING_COLUMNS, EventBatch, EventBit, Process
from schemas.encoding.batch import decode_batch, encode_batch
from tests.unit.collector.calls import call, file, sock

PROCESS = Process(pid=10, ppid=1, name="bash", exe="bash", args=(), uid=0, gid=0)
TIME = 1_700_000_000_000_000_000
ORIGIN = EventSource(
    process=PROCESS, row=0, is_stale=False, user_name={0: "root", 1000: "ann"}.get, group_name={0: "root"}.get
)
OPEN_BITS = EventBit.OPEN_READ | EventBit.OPEN_WRITE | EventBit.OPEN_EXEC | EventBit.OPEN_CREATE


def batch_of(*made: Syscall | Exec, origin: EventSource = ORIGIN) -> EventBatch:
    """Add events to a batch, and encode and decode it."""
    builder = BatchBuilder()
    for each in made:
        if isinstance(each, Syscall):
            answers = LookedUpNames().receive(each, None, None)
            add_syscall(builder, each, origin, TIME, answer=answers[0] if answers else None)
        else:
            add_exec(builder, each, origin, TIME)
    return decode_batch(
        encode_batch(
            EventBatch(
                host_id="",
                hostname="",
                boot_id="",
                collector_start=0,
                sequence=1,
                created=0,
                collector_version="",
                kernel="",
                first_number=1,
                count=builder.count,
                strings=builder.strings,
                processes=[PROCESS],
                containers=[],
                columns=builder.columns(),
            )
        )
    )


def row(made: Syscall | Exec, origin: EventSource = ORIGIN) -> dict[str, Any]:
    """Return the columns of one event: texts as texts, and the bits as flags."""
    batch = batch_of(made, origin=origin)
    found: dict[str, Any] = {}
    for name, column in batch.columns.items():
        if not name.startswith("arg_"):
            found[name] = batch.strings[column[0]] if name in STRING_COLUMNS else column[0]
    found["bits"] = EventBit(found["bits"])
    return found


def arguments(made: Syscall | Exec, origin: EventSource = ORIGIN) -> dict[str, tuple[str | None, int]]:
    """Return the arguments of one event in their order."""
    batch = batch_of(made, origin=origin)
    columns = batch.columns
    names = [batch.strings[index] for index in columns["arg_name"]]
    texts = [batch.strings[index] for index in columns["arg_value"]]
    return dict(zip(map(str, names), zip(texts, columns["arg_raw"], strict=True), strict=True))


class TestEveryEvent:
    def test_an_event_reports_who_when_and_where(self) -> None:
        """A call without descriptor and paths leaves the rest empty."""
        made = call("kill", [1, 9], result=-3, cpu=7, vtid=2)

        assert row(made) == {
            **dict.fromkeys(STRING_COLUMNS),
            "type": "kill",
            "time": TIME,
            "process": 0,
            "thread": 11,
            "vthread": 2,
            "cpu": 7,
            "res": -3,
            "bits": EventBit.HAS_RES | EventBit.FAILED,
            "fd_num": MISSING_INT,
            "fd_dev": 0,
            "fd_ino": 0,
            "local_port": -1,
            "remote_port": -1,
            "repeats": 0,
        }

    @pytest.mark.parametrize(
        ("result", "is_failed"), [(0, False), (7, False), (-1, True), (-4095, True), (-4096, False), (-(2**47), False)]
    )
    def test_only_an_errno_is_a_failure(self, result: int, is_failed: bool) -> None:
        """An address may look negative."""
        assert bool(row(call("mmap", result=result))["bits"] & EventBit.FAILED) is is_failed

    @pytest.mark.parametrize("event", ["getuid", "geteuid", "getgid", "getegid", "getsockname", "getpeername"])
    def test_an_event_without_a_result_has_none(self, event: str) -> None:
        """Falco gives these no res: evt.res is missing."""
        found = row(call(event, result=1000))

        assert (found["res"], found["bits"] & EventBit.HAS_RES) == (0, 0)

    def test_the_32_bit_gate_and_a_stale_process_show(self) -> None:
        """Both are available to rules."""
        found = row(call("kill", is_compat=True), replace(ORIGIN, is_stale=True))

        assert found["bits"] == EventBit.HAS_RES | EventBit.COMPAT_32 | EventBit.PROCESS_STALE


class TestOpens:
    @pytest.mark.parametrize(
        ("made", "expected"),
        [
            (call("openat", [0, 0, 0], result=3), EventBit.OPEN_READ),
            (call("openat", [0, 0, 1], result=3), EventBit.OPEN_WRITE),
            (call("openat", [0, 0, 2], result=3), EventBit.OPEN_READ | EventBit.OPEN_WRITE),
            # with O_CREAT the mode counts, for reading and writing or none
            (call("openat", [0, 0, 0o101, 0o755], result=3), EventBit.OPEN_WRITE | EventBit.OPEN_EXEC),
            (call("openat", [0, 0, 0o101, 0o644], result=3), EventBit.OPEN_WRITE),
            (call("openat", [0, 0, 1, 0o755], result=3), EventBit.OPEN_WRITE),
            # created only where the kernel reports it
            (
                call("openat", [0, 0, 0o101, 0o644], result=3, fd=3, file=file(is_created=True)),
                EventBit.OPEN_WRITE | EventBit.OPEN_CREATE,
            ),
            (call("openat", [0, 0, 0o101, 0o644], result=3, fd=3, file=file()), EventBit.OPEN_WRITE),
            (call("open", [0, 2], result=3), EventBit.OPEN_READ | EventBit.OPEN_WRITE),
            (
                call("openat2", result=3, blob1=(2).to_bytes(8, "little") + bytes(16)),
                EventBit.OPEN_READ | EventBit.OPEN_WRITE,
            ),
            (call("openat2", result=3), EventBit(0)),
            (call("open_by_handle_at", [0, 0, 2], result=3), EventBit.OPEN_READ | EventBit.OPEN_WRITE),
            # creat is open(O_CREAT | O_WRONLY | O_TRUNC)
            (call("creat", [0, 0o644], result=3), EventBit.OPEN_WRITE | EventBit.OPEN_CREATE),
            (call("creat", [0, 0o755], result=3), EventBit.OPEN_WRITE | EventBit.OPEN_CREATE | EventBit.OPEN_EXEC),
            # flags of calls that open nothing don't count
            (call("memfd_create", [0, 3], result=3), EventBit(0)),
            # a failed open still had a purpose
            (call("openat", [0, 0, 2], result=-13), EventBit.OPEN_READ | EventBit.OPEN_WRITE),
        ],
    )
    def test_an_open_reports_what_it_was_for(self, made: Syscall, expected: EventBit) -> None:
        """evt.is_open_read and similar fields."""
        assert row(made)["bits"] & OPEN_BITS == expected

    @pytest.mark.parametrize(
        ("facts", "name"),
        [
            ({"path1": "/etc/shadow"}, "/etc/shadow"),
            ({"path1": "../etc/shadow", "directory1": "/root"}, "/etc/shadow"),
            ({"path1": "shadow", "directory1": "/etc"}, "/etc/shadow"),
            ({"path1": "/tmp//link"}, "/tmp/link"),
            ({"path1": "shadow"}, "/real/file"),  # the directory isn't known
            ({}, "/real/file"),  # the path could not be read
        ],
    )
    def test_a_file_is_called_by_the_requested_name(self, facts: dict[str, Any], name: str) -> None:
        """The kernel's name stays beside it, so that a symlink hides neither."""
        found = row(call("openat", result=3, fd=3, file=file("/real/file"), **facts))

        assert (found["fd_name"], found["fd_realpath"]) == (name, "/real/file")
        assert (found["fd_name_raw"], found["fd_type"], found["fd_num"]) == (facts.get("path1"), "file", 3)
        assert (found["fd_dev"], found["fd_ino"]) == (0x801, 1234)

    @pytest.mark.parametrize(
        ("event", "columns"),
        [
            ("openat", {"fd_name": "/srv/base/usr/x", "fd_name_raw": "/usr/../usr/x"}),
            ("renameat2", {"path_source": "/srv/base/usr/x", "path_target": "/srv/y", "path_target_raw": "y"}),
            ("chroot", {"path_name": "/usr/x"}),
        ],
    )
    def test_an_absolute_path_below_another_root_has_the_root_before_it(
        self, event: str, columns: dict[str, str]
    ) -> None:
        """A relative path has its directory; after a chroot, the root is not the one that its path started from."""
        found = row(call(event, path1="/usr/../usr/x", directory1="/srv/base", path2="y", directory2="/srv"))

        assert {name: found[name] for name in columns} == columns

    def test_a_failed_open_has_a_name_but_no_descriptor(self) -> None:
        """Rules on attempts need the name."""
        found = row(call("openat", result=-2, path1="shadow", directory1="/etc"))

        assert (found["fd_name"], found["fd_name_raw"], found["fd_realpath"]) == ("/etc/shadow", "shadow", None)
        assert (found["fd_num"], found["fd_type"]) == (MISSING_INT, None)

    def test_an_opened_memfd_keeps_its_own_name(self) -> None:
        """Opened as /proc/self/fd/3, it is not a file of that name."""
        made = call("openat", result=4, fd=4, file=file("memfd:payload", is_pseudo=True), path1="/proc/self/fd/3")
        found = row(made)

        assert (found["fd_type"], found["fd_name"], found["fd_realpath"]) == ("memfd", "payload", None)
        assert found["fd_name_raw"] == "/proc/self/fd/3"

    @pytest.mark.parametrize(
        ("facts", "bit"),
        [
            ({"is_upper_layer": True}, EventBit.UPPER_LAYER),
            ({"is_lower_layer": True}, EventBit.LOWER_LAYER),
            ({}, EventBit(0)),
        ],
    )
    def test_the_layer_of_a_container_s_file_shows(self, facts: dict[str, Any], bit: EventBit) -> None:
        """Drift detection depends on it."""
        found = row(call("read", [3], fd=3, file=file(**facts)))

        assert found["bits"] & (EventBit.UPPER_LAYER | EventBit.LOWER_LAYER) == bit

    def test_an_open_has_no_fs_path(self) -> None:
        """Its fs.path.* are those of its descriptor."""
        found = row(call("openat", result=3, fd=3, file=file(), path1="/x"))

        assert [found[name] for name in STRING_COLUMNS if name.startswith("path_")] == [None] * 6


class TestTypesOfWhatIsOpened:
    @pytest.mark.parametrize(
        "made",
        [
            call("openat", [0, 0, 0o20200002], path1="/tmp", result=3, fd=3, file=file("/tmp/#7 (deleted)")),
            call("open", [0, 0o20200001], path1="/tmp", result=3, fd=3, file=file("/tmp/#7 (deleted)")),
            call(
                "openat2", blob1=(0o20200002).to_bytes(24, "little"), path1="/tmp", result=3, fd=3, file=file("/tmp/#7")
            ),
        ],
        ids=["openat", "open", "openat2"],
    )
    def test_a_temporary_file_without_a_name_is_its_directory(self, made: Syscall) -> None:
        """As in Falco: rules on files written below a directory don't match it."""
        found = row(made)

        assert (found["fd_type"], found["fd_name"]) == ("directory", "/tmp")

    @pytest.mark.parametrize("is_pseudo", [True, False], ids=["pipe", "named pipe"])
    def test_a_pipe_that_is_opened_by_its_path_is_a_file(self, is_pseudo: bool) -> None:
        """As in Falco, which knows only its path."""
        opened = file("pipe:[9]" if is_pseudo else "/dev/stdout", mode=0o010600, is_pseudo=is_pseudo)
        found = row(call("openat", [0, 0, 1], path1="/dev/stdout", result=3, fd=3, file=opened))

        assert (found["fd_type"], found["fd_name"]) == ("file", "/dev/stdout")

    def test_a_pipe_that_is_written_is_a_pipe(self) -> None:
        """Its descriptor shows that."""
        opened = file("pipe:[9]", mode=0o010600, is_pseudo=True)

        assert row(call("write", [3], fd=3, file=opened))["fd_type"] == "pipe"


class TestPaths:
    @pytest.mark.parametrize(
        ("event", "paths"),
        [
            ("unlink", {"path_name": "/srv/a"}),
            ("mkdirat", {"path_name": "/srv/a"}),
            ("chmod", {"path_name": "/srv/a"}),
            ("rename", {"path_source": "/srv/a", "path_target": "/srv/b"}),
            ("renameat2", {"path_source": "/srv/a", "path_target": "/srv/b"}),
            ("linkat", {"path_source": "/srv/a", "path_target": "/srv/b"}),
            ("mount", {"path_target": "/srv/a", "path_source": "b"}),
            # a symlink's text is no file name
            ("symlink", {"path_source": None, "path_target": "/srv/b"}),
            ("symlinkat", {"path_source": None, "path_target": "/srv/b"}),
        ],
    )
    def test_each_path_has_its_role(self, event: str, paths: dict[str, str | None]) -> None:
        """fs.path.name, .source and .target, lexical and as given."""
        made = call(event, path1="a", directory1="/srv", path2="b", directory2="/srv")
        found = row(made)

        given_paths = {name: found[name] for name in paths if paths[name] is not None}
        assert given_paths == {name: path for name, path in paths.items() if path is not None}
        raw = {found[f"{name}_raw"] for name in paths}
        assert raw == ({"a"} if len(paths) == 1 else {"a", "b"})

    def test_an_argument_that_is_a_path_is_absolute(self) -> None:
        """As libsinsp resolves it."""
        made = call("rename", path1="a", directory1="/srv", path2="b", directory2="/tmp")

        assert arguments(made) == {"res": ("0", 0), "oldpath": ("/srv/a", 0), "newpath": ("/tmp/b", 0)}

    def test_what_could_not_be_read_is_missing(self) -> None:
        """An invalid pointer yields no path."""
        found = row(call("unlink", result=-14))

        assert (found["path_name"], found["path_name_raw"]) == (None, None)


class TestSockets:
    def test_both_ends_and_roles_become_columns(self) -> None:
        """fd.cip and fd.sip are derived from these."""
        known = sock(local_ip="10.0.0.1", local_port=22, remote_ip="10.0.0.2", remote_port=50000, state=1)
        found = row(call("accept4", [3], result=5, fd=5, socket=known))

        assert (found["fd_num"], found["fd_type"], found["fd_name"]) == (5, "ipv4", "10.0.0.2:50000->10.0.0.1:22")
        assert (found["local_ip"], found["local_port"]) == ("10.0.0.1", 22)
        assert (found["remote_ip"], found["remote_port"]) == ("10.0.0.2", 50000)
        assert (found["l4proto"], found["sock_family"]) == ("tcp", "ip")
        assert found["bits"] == EventBit.HAS_RES | EventBit.HAS_ROLE | EventBit.IS_SERVER | EventBit.CONNECTED

    def test_a_socket_without_an_end_has_no_protocol_yet(self) -> None:
        """Falco shows one once the roles are known, and always that of a raw socket."""
        new = row(call("socket", [2], result=3, fd=3, socket=sock()))
        raw = row(call("socket", [2], result=3, fd=3, socket=sock(type=3, protocol=255)))

        assert (new["fd_type"], new["fd_name"], new["l4proto"]) == ("ipv4", "", None)
        assert raw["l4proto"] == "raw"

    def test_what_is_written_is_the_buffer(self) -> None:
        """evt.buffer is text, whatever its bytes are."""
        assert row(call("write", [1], fd=1, blob1=b"GET /\xff"))["buffer"] == "GET /\udcff"
        assert row(call("write", [1], fd=1))["buffer"] is None

    @pytest.mark.parametrize("event", ["read", "recv", "recvfrom", "recvmsg", "recvmmsg"])
    def test_an_answer_of_a_name_server_is_in_the_event_that_receives_it(self, event: str) -> None:
        """By the other end of a connected socket, or by the address that the call returns; the buffer stays short."""
        message = written(DnsAnswer("example.org", "AAAA", "NOERROR", ("edge.example.net", "2001:db8::9"), seconds=5))
        connected = sock(type=2, protocol=17, remote_ip="127.0.0.53", remote_port=53, local_port=40000)
        other, unconnected = replace(connected, remote_port=5353), replace(connected, remote_port=0)
        received = call(event, [3], result=len(message), fd=3, blob1=message)

        found = row(replace(received, socket=connected))

        assert found["dns"] == "example.org AAAA NOERROR edge.example.net 2001:db8::9"
        assert found["buffer"] == message[:80].decode("utf-8", "surrogateescape")
        for server, dns in ((("192.0.2.5", 53), found["dns"]), (("::1", 53), found["dns"]), (("192.0.2.5", 1), None)):
            assert row(replace(received, socket=unconnected, blob2=sockaddr(server)))["dns"] == dns
        assert row(replace(received, socket=other))["dns"] is None

    def test_memory_that_is_no_data_is_no_buffer(self) -> None:
        """The header of capset is not written data."""
        assert row(call("capset", blob1=bytes(24)))["buffer"] is None


@pytest.mark.parametrize(
    ("parts", "expected"), [(None, None), ((), ""), (("a",), "a."), (("a", "", "b"), "a..b."), (("a.b",), "a.b.")]
)
def test_a_list_of_strings_is_written_with_dots(parts: tuple[str, ...] | None, expected: str | None) -> None:
    """Each NUL becomes one."""
    assert joined(parts) == expected


REGISTER = st.one_of(
    st.integers(0, 300), st.integers(0, 2**64 - 1), st.sampled_from([2**31, 2**32 - 1, 2**63, 2**64 - 1])
)
TEXT = st.none() | st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
FILES = st.builds(
    file,
    path=TEXT,
    mode=st.integers(0, 65535),
    dev=st.integers(0, 2**32 - 1),
    ino=st.integers(0, 2**64 - 1),
    magic=st.integers(0, 2**32 - 1),
    is_pseudo=st.booleans(),
    is_created=st.booleans(),
    is_upper_layer=st.booleans(),
    is_lower_layer=st.booleans(),
)
SOCKETS = st.builds(
    sock,
    family=st.sampled_from([1, 2, 10, 16, 17, 65535]),
    type=st.integers(0, 65535),
    protocol=st.integers(0, 65535),
    state=st.integers(0, 255),
    local_port=st.integers(0, 65535),
    remote_port=st.integers(0, 65535),
)
HOSTILE = st.builds(
    call,
    event=st.sampled_from([each.event for each in CALLS]),
    arguments=st.lists(REGISTER, min_size=6, max_size=6),
    result=st.integers(-(2**63), 2**63 - 1) | st.integers(-600, 600),
    is_compat=st.booleans(),
    fd=st.none() | st.integers(-(2**31), 2**31 - 1),
    file=st.none() | FILES,
    socket=st.none() | SOCKETS,
    path1=TEXT,
    path2=TEXT,
    directory1=TEXT,
    directory2=TEXT,
    blob1=st.binary(max_size=255) | st.just(b"\xff" * 120),
    blob2=st.binary(max_size=255),
)


@settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_any_call_makes_an_event(made: Syscall) -> None:
    """No program may end the collector through its arguments, and each number fits its column."""
    spec = CALLS[made.event]
    batch = batch_of(made)

    assert batch.strings[batch.columns["type"][0]] == spec.event
    names = [batch.strings[index] for index in batch.columns["arg_name"]]
    assert names == [argument.name for argument in spec.arguments]


@pytest.mark.parametrize("each", CALLS, ids=lambda each: each.event)
def test_a_call_of_ones_makes_an_event(each: Any) -> None:
    """With every bit of every register and every byte of memory set."""
    ones = {"path1": "\udcff", "path2": "\udcff", "directory1": "/", "directory2": "/"}
    made = call(
        each.event, [2**64 - 1] * 6, blob1=b"\xff" * 255, blob2=b"\xff" * 255, file=file(ino=2**64 - 1), fd=3, **ones
    )

    assert batch_of(made).count == 1


@given(
    st.sampled_from(CALLS),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
    st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6),
    st.sampled_from([-13, 0, 3]),
)
def test_registers_that_a_call_does_not_name_report_nothing(
    spec: Call, registers: list[int], others: list[int], result: int
) -> None:
    """The kernel side counts calls as equal whatever these registers hold."""
    mixed = [
        mine if at in spec.registers else other for at, (mine, other) in enumerate(zip(registers, others, strict=True))
    ]
    facts: dict[str, Any] = {
        "result": result,
        "path1": "/a",
        "path2": "/b",
        "blob1": bytes(24),
        "blob2": b"\2\0" + bytes(14),
    }

    assert row(call(spec.event, registers, **facts)) == row(call(spec.event, mixed, **facts))
    assert arguments(call(spec.event, registers, **facts)) == arguments(call(spec.event, mixed, **facts))
