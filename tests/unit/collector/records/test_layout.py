"""The layout of records, checked against records packed independently of it."""

import struct

from collector.records.decode import HEAD, SYSCALL
from tests.unit.collector import packed


def test_members_are_where_the_kernel_side_writes_them() -> None:
    """All kinds share the head; the lengths of texts end a system call's struct."""
    record = packed.syscall(event=7, ino=0x1122334455667788, kernel_path=b"/a", path1=b"bcd", directory1=b"/efgh")

    assert (record[HEAD.span("kind")], record[HEAD.span("cpu")]) == (b"\1\0", b"\3\0\0\0")
    assert record[SYSCALL.span("event")] == b"\7\0"
    assert record[SYSCALL.between("magic", "mode")] == record[SYSCALL.span("fd")] == struct.pack("<i", -1)
    assert record[SYSCALL.end :] == b"/abcd/efgh"
    assert SYSCALL.reader("inode", "real_path", "path1", "directory1").unpack_from(record) == (
        0x1122334455667788,
        2,
        3,
        5,
    )
