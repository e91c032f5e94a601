import os
import subprocess
import sys
from pathlib import Path

from collector.procfs.loaded_files import (
    MAX_LOADED,
    LoadedFile,
    is_network_facing,
    parse_listening,
    parse_maps,
    responder,
)

LINES = (
    b"00400000-0040c000 r--p 00000000 08:01 173521                    /usr/share/data",
    b"0040c000-0040d000 r-xp 00000000 08:01 173522                    /usr/bin/prog (deleted)",
    b"0040d000-0040e000 rw-p 00001000 08:01 173522                    /usr/bin/prog (deleted)",
    b"7f0000000000-7f0000001000 rw-s 00000000 08:01 9                 /var/lib/db/written",
    b"7f0000001000-7f0000002000 rw-p 00000000 00:00 0                 [heap]",
    b"7f0000002000-7f0000003000 rw-s 00000000 00:01 7                 /memfd:x (deleted)",
    b"7f0000003000-7f0000004000 r-xp 00000000 00:01 7                 /memfd:y (deleted)",
    rb"7f0000004000-7f0000005000 r-xp 00000000 08:01 10                /opt/a\012b /c.so",
    b"7f0000005000-7f0000006000 ---p 00000000 00:00 0 ",
    b"7fff00000000-7fff00001000 r-xp 00000000 00:00 0                 [vdso]",
)


def test_files_are_those_with_code_first_and_once() -> None:
    """Memory, devices and files that are written through a mapping are none; a line break in a name is restored."""
    found, left_out = parse_maps(b"\n".join(LINES))
    assert found == (
        LoadedFile("/usr/bin/prog", is_deleted=True),
        LoadedFile("/opt/a\nb /c.so", is_deleted=False),
        LoadedFile("/usr/share/data", is_deleted=False),
    )
    assert left_out == 0


def test_thousands_of_mappings_are_bounded_and_counted() -> None:
    """Those with code are never left out for data, and a table that was cut in a line is read up to there."""
    data = [b"%x-%x r--p 0 08:01 5 /data/%d" % (at, at + 1, at) for at in range(MAX_LOADED + 10)]
    code = b"f0-f1 r-xp 0 08:01 6 /code\nf1-f2 r-xp 0 08"
    found, left_out = parse_maps(b"\n".join([*data, code]))
    assert (len(found), left_out, found[0].path) == (MAX_LOADED, 11, "/code")
    assert parse_maps(b"a-b r-xp 0 08:01 5 /" + b"x" * 5000) == ((), 1)


def test_sockets_that_listen_are_found_by_inode() -> None:
    """Loopback addresses, also those of IPv4 in IPv6, are not reached by other machines."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0"
    rows = (
        f"   0: 00000000:0016 00000000:0000 0A {rest} 11 1\n"
        f"   1: 0100007F:1F90 00000000:0000 0A {rest} 12 1\n"
        f"   2: 0100007F:1F90 0100007F:8000 01 {rest} 13 1\n   3: damaged\n"
    )
    found = parse_listening((head + rows).encode(), "tcp", "0A")
    assert found == {11: "tcp 0.0.0.0:22", 12: "tcp 127.0.0.1:8080"}
    assert [is_network_facing(each) for each in found.values()] == [True, False]
    mapped = f"   0: 0000000000000000FFFF00000100007F:01BB {'0' * 32}:0000 0A {rest} 14 1\n"
    every = f"   1: {'0' * 32}:01BB {'0' * 32}:0000 0A {rest} 15 1\n"
    assert parse_listening((head + mapped + every).encode(), "tcp", "0A") == {
        14: "tcp 127.0.0.1:443",
        15: "tcp [::]:443",
    }
    assert is_network_facing("tcp [::]:443")


def test_a_living_process_is_read_with_its_program_and_port() -> None:
    """By the kernel's own files; a process that has ended has nothing."""
    listening = (
        "import socket\nlisten = socket.create_server(('127.0.0.1', 0))\n"
        "print(listen.getsockname()[1], flush=True)\ninput()"
    )
    process = subprocess.Popen([sys.executable, "-c", listening], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    look = responder("/proc", "/")
    found = look(process.pid)
    process.communicate(b"\n")
    assert found["listening"] == [f"tcp 127.0.0.1:{port}"]
    assert (found["uid"], found["root"], found["is_cut"]) == (os.geteuid(), [], False)
    assert [str(Path(sys.executable).resolve()), False] in found["files"]
    assert look(process.pid) == {}
