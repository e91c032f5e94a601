"""What events change in descriptors, as Falco's library changes them."""

import struct

from tests.unit.lanner.captures.format import scap_files as scap
from tests.unit.lanner.captures.test_reading import only

OWN, OTHER = bytes((10, 0, 0, 5)), bytes((192, 0, 2, 7))
HERE = scap.interface("10.0.0.5", "255.255.255.0")
SOCKET6 = scap.event("socket", 10, {"fd": 3, "domain": 10, "type": 2, "proto": 17, "flags": 0})


def _tuple(source: bytes, sport: int, target: bytes, dport: int) -> bytes:
    family = b"\2" if len(source) == 4 else b"\n"
    return family + source + struct.pack("<H", sport) + target + struct.pack("<H", dport)


def _listed(*entries: bytes) -> bytes:
    return scap.processes(scap.process(1, parent=0, comm="init"), scap.process(10)) + scap.descriptors(10, *entries)


def _read(fd: int) -> bytes:
    return scap.event("read", 10, {"res": 1, "data": b"x", "fd": fd, "size": 1})


def _interface6(address: bytes) -> bytes:
    body = struct.pack("<HH", 2, 4) + address + bytes(32) + struct.pack("<Q", 0) + b"eth0"
    return scap.block(0x219, struct.pack("<I", len(body)) + body)


def test_listed_connections_have_roles() -> None:
    """A connection from a port that a process listens on is the server's, others are a client's."""
    client = scap.descriptor(4, 3, OWN + OTHER + struct.pack("<HHB", 41000, 443, 2))
    server = scap.descriptor(5, 3, OWN + OTHER + struct.pack("<HHB", 80, 5000, 2))
    listening = scap.descriptor(6, 5, bytes(4) + struct.pack("<HB", 80, 2))
    listed = _listed(client, server, listening)
    fields = ("fd.name", "fd.cip", "fd.sport", "fd.lport", "fd.l4proto", "fd.connected")
    assert only(scap.capture(HERE, _read(4), listed=listed), *fields) == (
        *("10.0.0.5:41000->192.0.2.7:443", "10.0.0.5", 443, 41000, "tcp"),
        True,
    )
    assert only(scap.capture(HERE, _read(5), listed=listed), *fields) == (
        *("192.0.2.7:5000->10.0.0.5:80", "192.0.2.7", 80, 80, "tcp"),
        True,
    )


def test_a_listed_unix_socket_is_named_by_its_path() -> None:
    """The kernel's addresses of a listed socket are no part of its name."""
    listed = _listed(scap.descriptor(4, 8, struct.pack("<QQ", 0xFF12, 0) + scap.sized(b"/run/s.sock")))
    assert only(scap.capture(_read(4), listed=listed), "fd.name") == ("/run/s.sock",)


def test_a_datagram_of_ipv6_gets_the_address_of_the_interface() -> None:
    """The address that a socket was not bound to is that of an interface of the same network."""
    own, other = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"
    sent = {"res": 1, "data": b"x", "fd": 3, "size": 1, "tuple": _tuple(bytes(16), 0, other, 53)}
    data = scap.capture(_interface6(own), SOCKET6, scap.event("sendto", 10, sent))
    assert only(data, "fd.name", "fd.lip", "fd.rport") == ("fd00::1:0->fd00::2:53", "fd00::1", 53)


def test_only_two_mapped_ends_are_shown_as_ipv4() -> None:
    """An address of IPv4 in a tuple with one of IPv6 is written as IPv6 writes it."""
    mapped = bytes(10) + b"\xff\xff" + OTHER
    accepted = {"queuepct": 0, "queuelen": 0, "queuemax": 0, "flags": 0, "fd": 4}

    def name(source: bytes, target: bytes) -> tuple[str, str]:
        event = scap.event("accept4", 10, {**accepted, "tuple": _tuple(source, 80, target, 443)})
        return only(scap.capture(event), "fd.name", "fd.type")  # type: ignore[return-value]

    assert name(mapped, mapped) == ("192.0.2.7:80->192.0.2.7:443", "ipv4")
    assert name(mapped, bytes(16)) == ("192.0.2.7:80->0.0.0.0:443", "ipv4")
    assert name(mapped, b"\xfd" + bytes(15)) == ("::ffff:192.0.2.7:80->fd00:::443", "ipv6")


def test_a_listening_socket_of_tcp_takes_over_a_received_tuple() -> None:
    """Falco treats only connections of TCP as complete."""
    socket = scap.event("socket", 10, {"fd": 3, "domain": 2, "type": 1, "proto": 6, "flags": 0})
    bound = scap.event("bind", 10, {"res": 0, "fd": 3, "addr": b"\2" + bytes(4) + struct.pack("<H", 80)})
    got = {"res": 1, "fd": 3, "size": 1, "data": b"x", "tuple": _tuple(OTHER, 5000, OWN, 80)}
    data = scap.capture(HERE, socket, bound, scap.event("recv", 10, got))
    assert only(data, "fd.name", "fd.sip") == ("192.0.2.7:5000->10.0.0.5:80", "10.0.0.5")


def test_an_event_about_an_unknown_descriptor_has_the_number_minus_one() -> None:
    """A failed call, and one that was recorded without parameters, are about descriptor -1."""
    failed = scap.event("openat", 10, {"fd": -2, "dirfd": -100, "name": "/x", "flags": 1, "mode": 0})
    fields = ("fd.num", "fd.name", "fd.typechar", "evt.res", "fd.is_server")
    assert only(scap.capture(failed), *fields) == (-1, "/x", "f", "ENOENT", None)
    bare = scap.numbered_event(scap.version("setsockopt").number, 10, [])
    assert only(scap.capture(bare), *fields) == (-1, "", "o", None, None)


def test_splice_is_about_its_target() -> None:
    """Falco shows the one of its descriptors that is written to."""
    made = scap.event("splice", 10, {"res": 1, "fd_in": 3, "fd_out": 4, "size": 1, "flags": 0})
    assert only(scap.capture(scap.opened(10, 3, "/in"), scap.opened(10, 4, "/out"), made), "fd.name") == ("/out",)


def test_a_creat_is_no_open_that_writes() -> None:
    """Falco sets evt.is_open_exec alone for creat, and takes a temporary file for a created one."""
    values = {"fd": 3, "name": "/x", "mode": 0o755, "dev": 1, "ino": 1, "creat_flags": 0}
    fields = ("evt.is_open_write", "evt.is_open_create", "evt.is_open_exec")
    assert only(scap.capture(scap.event("creat", 10, values)), *fields) == (False, False, True)
    assert only(scap.capture(scap.opened(10, 3, "/tmp", flags=1 << 13 | 2)), *fields) == (True, True, False)


def test_a_failed_open_shows_an_absolute_path_as_it_was_passed() -> None:
    """Only a relative path is completed."""
    failed = {"fd": -2, "flags": 1, "mode": 0, "dev": 0, "ino": 0}
    assert only(scap.capture(scap.event("open", 10, {**failed, "name": "/a/../b"})), "fd.name") == ("/a/../b",)
    assert only(scap.capture(scap.event("open", 10, {**failed, "name": "../b"})), "fd.name") == ("/b",)
    at = scap.event("openat", 10, {**failed, "dirfd": -100, "name": "/a/../b"})
    assert only(scap.capture(at), "fd.name") == ("/b",)


def test_a_socket_has_a_family_and_no_raw_name() -> None:
    """Descriptors that are no files have an empty fd.nameraw."""
    assert only(scap.capture(SOCKET6), "fd.sockfamily", "fd.nameraw", "fd.type") == ("ip", "", "ipv6")


def test_an_anonymous_map_of_an_old_capture_has_an_unsigned_descriptor() -> None:
    """Old drivers recorded the missing descriptor with 32 bits."""
    values = {"res": 4096, "addr": 0, "length": 1, "prot": 1, "flags": 10, "offset": 0}
    for fd, shown in ((0xFFFFFFFF, 0xFFFFFFFF), (-1, -1)):
        assert only(scap.capture(scap.event("mmap", 10, {**values, "fd": fd})), "fd.num", "fd.name") == (shown, "")


def test_addresses_of_all_containers_are_local_to_one_without_its_own() -> None:
    """Falco takes the address of any container for local in a container whose address is unknown."""
    listed = scap.processes(
        scap.process(1, parent=0, comm="init"), scap.process(10, cgroups=b"cpu=/docker/" + b"0" * 64 + b"\0")
    )
    connected = {"res": 0, "fd": 3, "tuple": _tuple(OTHER, 1000, OWN, 80)}
    socket = scap.event("socket", 10, {"fd": 3, "domain": 2, "type": 1, "proto": 6, "flags": 0})
    described = scap.event(
        "container", 0, {"json": '{"container": {"id": "aaaaaaaaaaaa", "ip": "192.0.2.7"}}'}, is_exit=False
    )
    after = (socket, scap.event("connect", 10, connected))
    assert only(scap.capture(HERE, *after, listed=listed), "fd.lip", "container.id") == ("10.0.0.5", "0" * 12)
    assert only(scap.capture(HERE, described, *after, listed=listed), "fd.lip") == ("192.0.2.7",)
