"""Captures read as event batches, which rules see as they see live events."""

import gzip
import io
import json
import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from lanner.captures.reader import CaptureReader, is_capture
from lanner.recorder.store import from_files
from processor.fields.extract import extract
from schemas.batch import EventBatch
from tests.unit.lanner.captures.format import scap_files as scap

Found = list[dict[str, Any]]


def read(data: bytes, *fields: str) -> Found:
    """Return fields of each event of a capture."""
    found: Found = []
    for batch in CaptureReader(io.BytesIO(data), "made.scap").batches():
        found += [{field: value_of(batch, i, field) for field in ("evt.type", *fields)} for i in range(batch.count)]
    return found


def value_of(batch: EventBatch, i: int, field: str) -> Any:
    """Return a field that may have an argument in brackets."""
    name, _, argument = field.partition("[")
    return extract(batch, i, name, argument.rstrip("]") or None)


def only(data: bytes, *fields: str) -> tuple[Any, ...]:
    """Return fields of the last event of a capture."""
    last = read(data, *fields)[-1]
    return tuple(last[field] for field in fields)


def test_an_opened_file_is_seen_with_its_process_and_user() -> None:
    """The lists at the beginning name process, parent, user and session of the events."""
    data = scap.capture(scap.users((0, "root")), scap.opened(10, 3, "/etc/shadow"))
    fields = ("fd.name", "fd.num", "fd.type", "proc.name", "proc.pname", "proc.exepath", "user.name", "user.loginuid")
    assert only(data, *fields) == ("/etc/shadow", 3, "file", "bash", "init", "/usr/bin/bash", "root", 1000)


def test_arguments_read_as_in_the_event_table() -> None:
    """Flags, descriptors and special directories are named in evt.args."""
    data = scap.capture(scap.opened(10, 3, "/etc/shadow", flags=4097))
    assert only(data, "evt.args", "evt.res", "evt.is_open_read") == (
        "fd=3(<f>/etc/shadow) dirfd=-100(AT_FDCWD) name=/etc/shadow flags=4097(O_RDONLY|O_CLOEXEC) mode=0 dev=8 ino=99",
        "SUCCESS",
        True,
    )


def test_a_relative_path_starts_from_the_directory_of_the_process() -> None:
    """A change of directory counts for the opens after it."""
    moved = scap.event("chdir", 10, {"res": 0, "path": "../tmp"})
    assert only(scap.capture(moved, scap.opened(10, 3, "x")), "fd.name", "fd.nameraw", "proc.cwd") == (
        "/tmp/x",
        "x",
        "/tmp/",
    )


def test_a_program_started_by_a_child_has_its_parent_as_ancestor() -> None:
    """Clone, exec and the events after it build the lineage."""
    data = scap.capture(*scap.cloned(20, 10, "bash"), scap.executed(20, "cat", b"/etc/shadow\0"))
    fields = ("proc.cmdline", "proc.pname", "proc.aname[2]", "proc.exepath", "proc.is_exe_writable", "proc.ppid")
    assert only(data, *fields) == ("cat /etc/shadow", "bash", "init", "/usr/bin/cat", True, 10)


def test_a_child_inherits_descriptors_and_an_exec_closes_those_marked() -> None:
    """A duplicate survives an exec, a descriptor with O_CLOEXEC does not."""
    data = scap.capture(
        scap.opened(10, 3, "/kept"),
        scap.opened(10, 4, "/closed", flags=4097),
        *scap.cloned(20, 10, "bash"),
        scap.executed(20, "cat", b""),
        scap.event("read", 20, {"res": 1, "data": b"x", "fd": 3, "size": 1}),
        scap.event("read", 20, {"res": 1, "data": b"x", "fd": 4, "size": 1}),
    )
    assert [event["fd.name"] for event in read(data, "fd.name")[-2:]] == ["/kept", ""]


def test_a_closed_descriptor_is_named_in_its_close_and_not_after() -> None:
    """The close itself still shows what it closes."""
    close = scap.event("close", 10, {"res": 0, "fd": 3})
    found = read(scap.capture(scap.opened(10, 3, "/x"), close, close), "fd.name")
    assert [event["fd.name"] for event in found] == ["/x", "/x", ""]


def test_a_duplicate_has_the_name_of_its_original() -> None:
    """After a dup2 the new number shows the file of the old one."""
    dup = scap.event("dup2", 10, {"res": 0, "oldfd": 3, "newfd": 0})
    assert only(scap.capture(scap.opened(10, 3, "/x"), dup), "fd.name", "fd.num") == ("/x", 0)


def socket_and(*parts: bytes, kind: int = 1) -> bytes:
    """Return a capture in which the shell makes an internet socket, descriptor 3, and then some events."""
    made = scap.event("socket", 10, {"fd": 3, "domain": 2, "type": kind, "proto": 0, "flags": 0})
    return scap.capture(scap.interface("10.0.0.5", "255.255.255.0"), made, *parts)


def tuple_bytes(source: tuple[bytes, int], target: tuple[bytes, int]) -> bytes:
    """Encode both ends of a socket."""
    return b"\2" + source[0] + struct.pack("<H", source[1]) + target[0] + struct.pack("<H", target[1])


OWN, OTHER = (bytes((10, 0, 0, 5)), 41000), (bytes((192, 0, 2, 7)), 443)


def test_a_connection_shows_both_ends_and_which_is_local() -> None:
    """The interfaces of the captured host show which address is local."""
    connect = scap.event("connect", 10, {"res": 0, "tuple": tuple_bytes(OWN, OTHER), "fd": 3})
    fields = ("fd.name", "fd.lip", "fd.rip", "fd.sip", "fd.sport", "fd.l4proto", "fd.connected")
    assert only(socket_and(connect), *fields) == (
        "10.0.0.5:41000->192.0.2.7:443",
        *("10.0.0.5", "192.0.2.7", "192.0.2.7", 443, "tcp", True),
    )


def test_an_accepted_connection_makes_this_side_the_server() -> None:
    """The other end is the client."""
    accept = scap.event("accept4", 10, {"fd": 5, "tuple": tuple_bytes(OTHER, OWN), "queuepct": 0, "flags": 0})
    assert only(socket_and(accept), "fd.cip", "fd.sip", "fd.is_server", "fd.num") == ("192.0.2.7", "10.0.0.5", True, 5)


def test_a_datagram_names_a_socket_without_a_connection() -> None:
    """The source address that a program left open is that of the interface."""
    ends = tuple_bytes((bytes(4), 5000), (bytes((10, 0, 0, 9)), 53))
    sent = scap.event("sendto", 10, {"res": 1, "data": b"x", "fd": 3, "size": 1, "tuple": ends})
    assert only(socket_and(sent, kind=2), "fd.name", "fd.l4proto") == ("10.0.0.5:5000->10.0.0.9:53", "udp")


def test_a_listening_socket_shows_the_address_it_is_bound_to() -> None:
    """A bind gives it a name and makes it a server's."""
    bind = scap.event("bind", 10, {"res": 0, "addr": b"\2" + bytes(4) + struct.pack("<H", 80), "fd": 3})
    assert only(socket_and(bind), "fd.name", "fd.sport") == ("0.0.0.0:80", 80)


def sent(name: str, source: tuple[bytes, int], target: tuple[bytes, int], fd: int = 3) -> bytes:
    """Return a datagram that is sent or received."""
    return scap.event(name, 10, {"res": 1, "data": b"x", "fd": fd, "size": 1, "tuple": tuple_bytes(source, target)})


THIRD = (bytes((10, 0, 0, 9)), 53)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([sent("sendto", OWN, OTHER), sent("sendto", OWN, THIRD)], ("10.0.0.5:41000->10.0.0.9:53", "10.0.0.5")),
        ([sent("sendto", OWN, OTHER), sent("recvfrom", OTHER, OWN)], ("10.0.0.5:41000->192.0.2.7:443", "10.0.0.5")),
        ([sent("recvfrom", OTHER, OWN)], ("192.0.2.7:443->10.0.0.5:41000", "192.0.2.7")),
        ([sent("recvfrom", THIRD, (bytes(4), 41000))], ("10.0.0.9:53->10.0.0.5:41000", "10.0.0.9")),
    ],
    ids=["another target", "an answer", "a server", "an unspecified own address"],
)
def test_a_socket_of_datagrams_shows_the_ends_of_the_last_one(parts: list[bytes], expected: tuple[str, str]) -> None:
    """The client's end comes first; a socket that begins with a read is a server's."""
    assert only(socket_and(*parts, kind=2), "fd.name", "fd.cip") == expected


def test_a_failed_call_makes_no_socket_known() -> None:
    """What a program passed to a call that failed is not trusted."""
    failed = {"res": -1, "data": b"x", "fd": 7, "size": 1, "tuple": tuple_bytes(OWN, OTHER)}
    assert only(scap.capture(scap.event("sendto", 10, failed)), "fd.type", "fd.num") == (None, 7)


@pytest.mark.parametrize(("protocol", "name"), [(1, "10.0.0.5->192.0.2.7"), (99, "<unknown>")])
def test_a_connection_without_ports_is_named_by_its_protocol(protocol: int, name: str) -> None:
    """ICMP has no ports, and of other protocols Falco names no addresses."""
    made = scap.event("socket", 10, {"fd": 3, "domain": 2, "type": 2, "proto": protocol, "flags": 0})
    connect = scap.event("connect", 10, {"res": 0, "tuple": tuple_bytes(OWN, OTHER), "fd": 3})
    assert only(scap.capture(made, connect), "fd.name") == (name,)


def test_a_connection_of_an_unknown_descriptor_has_the_name_that_its_event_holds() -> None:
    """Such as one that was made before the capture began."""
    connect = scap.event("connect", 10, {"res": 0, "tuple": tuple_bytes(OWN, OTHER), "fd": 9})
    assert only(scap.capture(connect), "fd.name", "fd.type") == ("10.0.0.5:41000->192.0.2.7:443", None)


def test_a_server_on_the_unspecified_address_of_ipv6_serves_ipv4_too() -> None:
    """Falco shows it as one of IPv4, by the name that was passed."""
    made = scap.event("socket", 10, {"fd": 3, "domain": 10, "type": 1, "proto": 0, "flags": 0})
    bind = scap.event("bind", 10, {"res": 0, "addr": b"\n" + bytes(16) + struct.pack("<H", 80), "fd": 3})
    assert only(scap.capture(made, bind), "fd.name", "fd.type", "fd.sip") == (":::80", "ipv4", "0.0.0.0")


def test_only_the_event_that_names_a_descriptor_changes_its_name() -> None:
    """An event after it does not."""
    read_ = scap.event("fstat", 10, {"res": 0, "fd": 3})
    found = read(scap.capture(scap.opened(10, 3, "/x"), read_), "fd.name_changed")
    assert [event["fd.name_changed"] for event in found] == [True, False]


def test_both_descriptors_of_a_pair_of_sockets_are_known() -> None:
    """The event shows the second number."""
    pair = scap.event("socketpair", 10, {"res": 0, "fd1": 3, "fd2": 4, "domain": 1, "type": 1})
    data = scap.capture(pair, scap.event("read", 10, {"res": 1, "data": b"x", "fd": 3, "size": 1}))
    assert [event["fd.num"] for event in read(data, "fd.num", "fd.type") if event["fd.type"] == "unix"] == [4, 3]


def test_a_path_of_a_change_is_clean_and_its_argument_is_as_passed() -> None:
    """Also if it was passed as a whole path."""
    made = scap.event("mkdir", 10, {"res": 0, "path": "/a//b/../c/", "mode": 0})
    assert only(scap.capture(made), "fs.path.name", "evt.arg[path]") == ("/a/c", "/a//b/../c/")


@pytest.mark.parametrize(
    ("name", "values", "field", "expected"),
    [
        ("setuid", {"res": 0, "uid": 1000}, "user.name", "ann"),
        ("setresuid", {"res": 0, "ruid": -1, "euid": 1000, "suid": -1}, "user.uid", 1000),
        ("setgid", {"res": 0, "gid": 1000}, "group.name", "ann"),
        ("setresgid", {"res": 0, "rgid": -1, "egid": 1000, "sgid": -1}, "group.gid", 1000),
        ("setuid", {"res": -1, "uid": 1000}, "user.uid", 0),
        ("setsid", {"res": 10}, "proc.sid", 10),
        ("capset", {"res": 0, "cap_permitted": 1, "cap_effective": 1}, "thread.cap_effective", "CAP_CHOWN"),
    ],
)
def test_identity_changes_with_the_calls_that_set_it(
    name: str, values: dict[str, int], field: str, expected: str | int
) -> None:
    """User, group, session and capabilities follow the calls that succeed."""
    data = scap.capture(scap.users((0, "root"), (1000, "ann")), scap.event(name, 10, values))
    assert only(data, field) == (expected,)


def test_an_orphan_belongs_to_its_reaper() -> None:
    """The end of a process names who adopts its children."""
    exit_ = scap.event("procexit", 10, {"status": 0, "ret": 0, "sig": 0, "core": 0, "reaper_tid": 1}, is_exit=False)
    data = scap.capture(*scap.cloned(20, 10, "bash"), exit_, scap.opened(20, 3, "/x"))
    assert only(data, "proc.pname", "proc.ppid") == ("init", 1)


def test_two_paths_of_a_call_have_their_roles() -> None:
    """Renames and links have a source and a target."""
    renamed = scap.event("rename", 10, {"res": 0, "oldpath": "a", "newpath": "/b"})
    assert only(scap.capture(renamed), "fs.path.source", "fs.path.sourceraw", "fs.path.target") == (
        "/root/a",
        "a",
        "/b",
    )


def test_a_container_is_described_by_an_event() -> None:
    """Name and image come from the event that describes the container, the id from the cgroup."""
    full = "3d09256ebd53" + "e" * 52
    facts = {"container": {"id": full[:12], "type": 0, "name": "web", "imagerepo": "nginx", "imagetag": "1.27"}}
    described = scap.event(
        "asyncevent",
        -1,
        {"plugin_id": 0, "name": "container", "data": json.dumps(facts).encode()},
        is_exit=False,
        block_type=0x221,
    )
    listed = scap.processes(scap.process(10, cgroups=f"cpu=/docker/{full}".encode() + b"\0"))
    data = scap.capture(described, scap.opened(10, 3, "/x"), listed=listed)
    fields = ("container.id", "container.name", "container.image.repository", "container.type")
    assert only(data, *fields) == (full[:12], "web", "nginx", "docker")


def test_events_of_an_unknown_thread_are_seen_without_its_facts() -> None:
    """A thread that no list and no clone has named still makes events."""
    assert only(scap.capture(scap.opened(77, 3, "/x")), "fd.name", "proc.name", "thread.tid") == ("/x", "<NA>", 77)


@pytest.mark.parametrize(
    ("tid", "directory", "path", "name"),
    [
        (10, -100, "../x", "/x"),
        (77, -100, "x", "./x"),
        (77, -100, "../x", "x"),
        (77, 9, "a//b/", "<UNKNOWN>a/b"),
        (10, 9, "../x", "<UNKNOWN>../x"),
        (10, 9, "a/../b", "b"),
        (10, -100, "", ""),
    ],
)
def test_a_path_from_an_unknown_directory_is_no_whole_path(tid: int, directory: int, path: str, name: str) -> None:
    """Falco shows what is known of it."""
    opened = {"fd": 3, "dirfd": directory, "name": path.encode() + b"\0", "flags": 1}
    moved = scap.event("chdir", 77, {"res": 0, "path": "/tmp"})
    assert only(scap.capture(moved, scap.event("openat", tid, opened)), "fd.name") == (name,)


@pytest.mark.parametrize(("flags", "name"), [(0, "bash"), (1 << 27, "<NA>")])
def test_a_thread_that_clones_becomes_known_by_it(flags: int, name: str) -> None:
    """Its ids are those of the event, its name that of the child, which a vfork states elsewhere."""
    data = scap.capture(scap.cloned(20, 77, "bash", flags=flags)[0])
    assert only(data, "proc.pid", "proc.name", "proc.pname", "user.uid") == (77, name, "init", 4294967295)


def test_an_event_without_a_thread_has_no_process() -> None:
    """Only the return of a call makes its thread known, with an invalid process id."""
    switch = scap.event("switch", 99, {"next": 1}, is_exit=False)
    found = read(scap.capture(switch, scap.opened(77, 3, "/x")), "proc.pid")
    assert [event["proc.pid"] for event in found] == [None, -1]


def test_entries_of_calls_are_no_events_and_complete_the_exits() -> None:
    """In older captures the exit of a close lacks its descriptor, and the entry has it."""
    entry = scap.numbered_event(scap.version("close").number - 1, 10, [scap.encoded("FD", 3)])
    exit_ = scap.numbered_event(scap.version("close").number, 10, [scap.encoded("ERRNO", 0)])
    found = read(scap.capture(scap.opened(10, 3, "/x"), entry, exit_), "fd.name", "evt.num")
    assert found[1:] == [{"evt.type": "close", "fd.name": "/x", "evt.num": 2}]


def test_events_without_a_count_of_parameters_are_read() -> None:
    """Until 2018 the number of parameters had to be guessed from the length."""
    params = [scap.encoded("FD", 3), b"/etc/passwd\0", scap.encoded("FLAGS32", 1), scap.encoded("UINT32", 0)]
    data = scap.capture(scap.numbered_event(scap.version("open").number, 10, params, block_type=0x204))
    assert only(data, "fd.name", "evt.arg[dev]", "evt.type") == ("/etc/passwd", None, "open")


def test_what_is_unknown_is_skipped_and_counted() -> None:
    """Blocks and events of later releases don't end the reading."""
    later = scap.numbered_event(60000, 10, [])
    reader = CaptureReader(io.BytesIO(scap.capture(scap.block(0x7777, b"later"), later, scap.opened(10, 3, "/x"))), "x")
    assert [batch.count for batch in reader.batches()] == [1]
    assert reader.counts.lines() == [
        "skipped 1 block of unknown type",
        "skipped 1 event of types that this release doesn't know",
    ]


def test_entries_of_lists_may_be_longer_than_known() -> None:
    """Newer writers append to the entries of lists."""
    listed = scap.processes(scap.process(10, comm="sh", extra=b"later"), scap.process(11))
    assert only(scap.capture(scap.opened(10, 3, "/x"), listed=listed), "proc.name") == ("sh",)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_pipe_is_read_as_a_file_is(tmp_path: Path, *, is_compressed: bool) -> None:
    """Replay needs neither a length nor seeking."""
    data = scap.capture(scap.opened(10, 3, "/x"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(data) if is_compressed else data,))
    writer.start()
    try:
        assert [stored.batch.hostname for stored in from_files((pipe,))] == ["web-1"]
    finally:
        writer.join()


def test_a_capture_is_told_by_its_first_bytes() -> None:
    """A pipe may have only one of them at first; a text may begin with the same one."""
    assert is_capture(scap.section())
    assert is_capture(gzip.compress(b""))
    assert is_capture(b"\n")
    assert not is_capture(b"\n- rule: x")
    assert not is_capture(b"Obj\1")
    assert not is_capture(b"")
