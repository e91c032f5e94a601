import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.events.texts import Descriptor, describe, describe_file, describe_socket, device_number, socket_address
from tests.unit.collector.calls import call, file, sock

PIDFS = 0x50494446
ESTABLISHED, CLOSED, LISTEN = 1, 7, 10


class TestFiles:
    @pytest.mark.parametrize(
        ("path", "mode", "facts", "kind", "name", "label"),
        [
            ("/etc/passwd", stat.S_IFREG, {}, "file", "/etc/passwd", "<f>/etc/passwd"),
            ("/dev/null", stat.S_IFCHR, {}, "file", "/dev/null", "<f>/dev/null"),
            ("/dev/sda", stat.S_IFBLK, {}, "file", "/dev/sda", "<f>/dev/sda"),
            ("/etc", stat.S_IFDIR, {}, "directory", "/etc", "<d>/etc"),
            ("/run/fifo", stat.S_IFIFO, {}, "pipe", "/run/fifo", "<p>/run/fifo"),
            ("", stat.S_IFIFO, {"is_pseudo": True}, "pipe", "", "<p>"),
            ("memfd:payload", stat.S_IFREG, {"is_pseudo": True}, "memfd", "payload", "<m>payload"),
            ("[eventfd]", 0o600, {"is_pseudo": True}, "event", "", "<e>"),
            ("[signalfd]", 0o600, {"is_pseudo": True}, "signalfd", "", "<s>"),
            ("[eventpoll]", 0o600, {"is_pseudo": True}, "eventpoll", "", "<l>"),
            ("inotify", 0o600, {"is_pseudo": True}, "inotify", "", "<i>"),
            ("[timerfd]", 0o600, {"is_pseudo": True}, "timerfd", "", "<t>"),
            ("bpf-map", 0o600, {"is_pseudo": True}, "bpf", "", "<b>"),
            ("bpf-prog", 0o600, {"is_pseudo": True}, "bpf", "", "<b>"),
            ("[userfaultfd]", 0o600, {"is_pseudo": True}, "userfaultfd", "", "<u>"),
            ("[io_uring]", 0o600, {"is_pseudo": True}, "io_uring", "", "<r>"),
            ("[pidfd]", 0o600, {"is_pseudo": True}, "pidfd", "", "<P>"),
            ("", stat.S_IFREG, {"magic": PIDFS, "is_pseudo": True}, "pidfd", "", "<P>"),
            ("/home/memfd:x", stat.S_IFREG, {}, "file", "/home/memfd:x", "<f>/home/memfd:x"),
            (None, stat.S_IFREG, {}, "file", None, "<f>"),
        ],
    )
    def test_a_file_has_falco_s_type_letter_and_name(
        self, path: str | None, mode: int, facts: dict[str, Any], kind: str, name: str | None, label: str
    ) -> None:
        """A file in no directory has a name of its own, which only a memfd shows."""
        found = describe_file(5, file(path, mode, **facts))

        assert (found.number, found.type, found.name, found.label) == (5, kind, name, label)

    def test_only_what_lies_in_a_directory_has_a_kernel_path(self) -> None:
        """A memfd's creator chooses its name."""
        assert describe_file(5, file("/etc/passwd")).real_path == "/etc/passwd"
        assert describe_file(5, file("memfd:/etc/passwd", is_pseudo=True)).real_path is None

    def test_device_numbers_are_user_space_s(self) -> None:
        """As stat(2) returns them, so that rules can compare."""
        found = Path("/dev/null").stat()
        major, minor = os.major(found.st_rdev), os.minor(found.st_rdev)

        assert device_number(major << 20 | minor) == found.st_rdev

    @given(major=st.integers(0, 0xFFF), minor=st.integers(0, 0xFFFFF))
    def test_any_device_number_is_the_c_library_s(self, major: int, minor: int) -> None:
        """makedev(3) is the oracle."""
        assert device_number(major << 20 | minor) == os.makedev(major, minor)


class TestAddresses:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", None),
            (b"\2", None),
            (struct.pack("<HH4s", 2, 0, b"\0\0"), ("0.0.0.0", 0)),
            (struct.pack("<H", 2) + struct.pack(">H", 443) + socket.inet_aton("192.0.2.7"), ("192.0.2.7", 443)),
            (struct.pack("<H", 2) + struct.pack(">H", 443) + b"\1", None),
            (
                struct.pack("<H", 10) + struct.pack(">HI", 443, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8::1"),
                ("2001:db8::1", 443),
            ),
            (
                struct.pack("<H", 10) + struct.pack(">HI", 80, 0) + bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1]),
                ("10.0.0.1", 80),
            ),
            (struct.pack("<H", 10) + bytes(20), None),
            (struct.pack("<H", 1) + b"/run/docker.sock\0rest", ("/run/docker.sock", -1)),
            (struct.pack("<H", 1) + b"\0abstract", ("@abstract", -1)),
            (struct.pack("<H", 1), ("", -1)),
            (struct.pack("<HHI", 16, 0, 7), None),
            (struct.pack("<H", 0) + bytes(14), None),
        ],
    )
    def test_an_address_is_read_from_memory(self, data: bytes, expected: tuple[str, int] | None) -> None:
        """Data too short for its family is not an address."""
        assert socket_address(data) == expected

    @given(st.binary(max_size=160))
    def test_any_memory_is_an_address_or_none(self, data: bytes) -> None:
        """A program may pass anything."""
        found = socket_address(data)

        assert found is None or -1 <= found[1] <= 65535


class TestSocketNames:
    @pytest.mark.parametrize(
        ("event", "facts", "address", "name", "is_server"),
        [
            # connect: we are the client, whatever the ports
            (
                "connect",
                {"local_ip": "10.0.0.1", "local_port": 80, "remote_ip": "10.0.0.2", "remote_port": 50000},
                None,
                "10.0.0.1:80->10.0.0.2:50000",
                False,
            ),
            # the address of the call counts, as the socket may not have one yet, or another one
            ("connect", {}, ("10.0.0.2", 443), "0.0.0.0:0->10.0.0.2:443", False),
            # accept: we are the server, the client stands first
            (
                "accept4",
                {"local_ip": "10.0.0.1", "local_port": 50000, "remote_ip": "10.0.0.2", "remote_port": 80},
                None,
                "10.0.0.2:80->10.0.0.1:50000",
                True,
            ),
            # otherwise the lower port is the server's
            (
                "sendto",
                {"local_ip": "10.0.0.1", "local_port": 443, "remote_ip": "10.0.0.2", "remote_port": 50000},
                None,
                "10.0.0.2:50000->10.0.0.1:443",
                True,
            ),
            (
                "recvfrom",
                {"local_ip": "10.0.0.1", "local_port": 50000, "remote_ip": "10.0.0.2", "remote_port": 443},
                None,
                "10.0.0.1:50000->10.0.0.2:443",
                False,
            ),
            # bound only
            ("bind", {}, ("0.0.0.0", 8080), "0.0.0.0:8080", True),
            ("bind", {"local_ip": "127.0.0.1", "local_port": 8080}, ("0.0.0.0", 0), "127.0.0.1:8080", True),
            ("listen", {"local_ip": "0.0.0.0", "local_port": 8080, "state": LISTEN}, None, "0.0.0.0:8080", True),
            # nothing known yet
            ("socket", {}, None, "", None),
        ],
    )
    def test_an_ip_socket_is_named_client_first(
        self, event: str, facts: dict[str, Any], address: tuple[str, int] | None, name: str, is_server: bool | None
    ) -> None:
        """The call determines the server, else the ports do; a socket without an end has no protocol yet."""
        found = describe_socket(3, sock(**facts), event, address)

        assert (found.type, found.family, found.protocol) == ("ipv4", "ip", None if is_server is None else "tcp")
        assert (found.name, found.is_server) == (name, is_server)

    def test_both_ends_are_retained(self) -> None:
        """fd.lip, fd.rip and their ports come from here."""
        found = describe_socket(
            3,
            sock(local_ip="10.0.0.1", local_port=5, remote_ip="10.0.0.2", remote_port=6, state=ESTABLISHED),
            "sendto",
            None,
        )

        assert (found.local_ip, found.local_port) == ("10.0.0.1", 5)
        assert (found.remote_ip, found.remote_port) == ("10.0.0.2", 6)
        assert found.is_connected

    def test_an_end_that_is_not_there_is_missing(self) -> None:
        """A new socket has neither, a bound one only its own."""
        fresh = describe_socket(3, sock(), "socket", None)
        bound = describe_socket(3, sock(local_ip="10.0.0.1", local_port=5), "listen", None)

        assert (fresh.local_ip, fresh.local_port, fresh.remote_ip, fresh.remote_port) == (None, -1, None, -1)
        assert (bound.local_ip, bound.local_port, bound.remote_ip, bound.remote_port) == ("10.0.0.1", 5, None, -1)

    @pytest.mark.parametrize(
        ("event", "kind", "port", "remote", "changed"),
        [
            ("sendto", socket.SOCK_STREAM, 0, "10.0.0.9", True),  # TCP fast open
            ("sendto", socket.SOCK_STREAM, 53, "10.0.0.2", False),
            ("sendto", socket.SOCK_DGRAM, 0, "10.0.0.9", True),
            ("sendto", socket.SOCK_DGRAM, 53, "10.0.0.9", True),
            ("sendmsg", socket.SOCK_RAW, 53, "10.0.0.9", True),
            ("connect", socket.SOCK_DGRAM, 0, "10.0.0.9", True),
            ("connect", socket.SOCK_DGRAM, 53, "10.0.0.2", True),
            ("bind", socket.SOCK_DGRAM, 53, "10.0.0.2", False),
        ],
    )
    def test_the_call_s_address_counts_where_the_kernel_would_use_it(
        self, event: str, kind: int, port: int, remote: str, changed: bool
    ) -> None:
        """A connected stream ignores it, a connected datagram socket doesn't, and connect has taken it."""
        known = sock(type=kind, local_ip="10.0.0.1", local_port=5, remote_ip="10.0.0.2", remote_port=port)
        found = describe_socket(3, known, event, ("10.0.0.9", 99))

        assert (found.remote_ip, found.is_name_changed) == (remote, changed)

    @pytest.mark.parametrize(
        ("family", "local", "remote", "kind"),
        [
            (socket.AF_INET6, "2001:db8::1", "2001:db8::2", "ipv6"),
            (socket.AF_INET6, "10.0.0.1", "10.0.0.2", "ipv4"),
            (socket.AF_INET, "10.0.0.1", "10.0.0.2", "ipv4"),
        ],
    )
    def test_ipv4_in_ipv6_dress_is_ipv4(self, family: int, local: str, remote: str, kind: str) -> None:
        """A dual-stack server must not escape rules on IPv4."""
        found = describe_socket(
            3, sock(family, local_ip=local, local_port=5, remote_ip=remote, remote_port=6), "accept", None
        )

        assert found.type == kind

    @pytest.mark.parametrize(
        ("kind", "protocol", "expected"),
        [
            (socket.SOCK_STREAM, 6, "tcp"),
            (socket.SOCK_DGRAM, 17, "udp"),
            (socket.SOCK_RAW, 1, "icmp"),
            (socket.SOCK_RAW, 58, "icmp"),
            (socket.SOCK_RAW, 6, "raw"),
            (socket.SOCK_RAW, 255, "raw"),
            (socket.SOCK_DGRAM, 1, "icmp"),
            (socket.SOCK_STREAM, 132, None),
            (socket.SOCK_STREAM, 262, "tcp"),
        ],
    )
    def test_protocols_have_falco_s_names(self, kind: int, protocol: int, expected: str | None) -> None:
        """A raw socket that implements TCP itself is raw."""
        assert describe_socket(3, sock(type=kind, protocol=protocol, local_port=5), "read", None).protocol == expected

    @pytest.mark.parametrize(
        ("event", "path", "address", "name", "is_server"),
        [
            ("connect", "/run/docker.sock", None, "/run/docker.sock", False),
            ("connect", "", ("/run/docker.sock", -1), "/run/docker.sock", False),
            ("accept", "@bus", None, "@bus", True),
            ("listen", "/run/x", None, "/run/x", True),
            ("sendto", "/run/x", None, "/run/x", None),
            ("socket", "", None, "", None),
        ],
    )
    def test_a_unix_socket_is_named_by_its_path(
        self, event: str, path: str, address: tuple[str, int] | None, name: str, is_server: bool | None
    ) -> None:
        """The kernel's path first; a failed connect only has the requested one."""
        found = describe_socket(3, sock(socket.AF_UNIX, unix_path=path), event, address)

        assert (found.type, found.family, found.name, found.is_server) == ("unix", "unix", name, is_server)
        assert found.label == f"<u>{name}"
        assert (found.local_ip, found.remote_port) == (None, -1)

    @pytest.mark.parametrize(("family", "kind"), [(socket.AF_NETLINK, "netlink"), (socket.AF_PACKET, None)])
    def test_another_family_has_at_most_a_type(self, family: int, kind: str | None) -> None:
        """There is no name."""
        found = describe_socket(3, sock(family), "socket", None)

        assert (found.type, found.name, found.is_server) == (kind, "", None)


class TestDescribe:
    def test_a_call_without_a_descriptor_has_none(self) -> None:
        """A signal has no descriptor."""
        assert describe("kill", call("kill")) is None

    def test_a_descriptor_that_is_not_open_is_only_a_number(self) -> None:
        """close(99) fails; its rule may still use fd.num."""
        found = describe("close", call("close", [99], fd=99, result=-9))

        assert found == Descriptor(99)
        assert found is not None
        assert found.label == ""

    def test_a_socket_goes_before_a_file(self) -> None:
        """The address is the second piece of memory."""
        address = struct.pack("<H", 2) + struct.pack(">H", 443) + socket.inet_aton("192.0.2.7")
        found = describe("connect", call("connect", [3], fd=3, socket=sock(), blob2=address))

        assert found is not None
        assert found.name == "0.0.0.0:0->192.0.2.7:443"
