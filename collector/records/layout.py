"""Byte layout of the kernel side's records, for decoding them and for comparing them as bytes.

lanner.bpf.c and io_uring.bpf.c define the C structs. A record is a head, then the struct of its kind, then texts.
"""

import struct


class Layout:
    """One packed C struct: its format, and the offset of each member from the start of the record.

    Args:
        start: offset of the struct in the record.
        members: `struct` format and name of each member, separated by commas.
    """

    def __init__(self, start: int, members: str) -> None:
        self._formats: dict[str, str] = {}
        self._spans: dict[str, slice] = {}
        at = start
        for member in members.split(", "):
            form, name = member.split(" ")
            size = struct.calcsize(f"<{form}")
            self._formats[name] = form
            self._spans[name] = slice(at, at + size)
            at += size
        self.struct = struct.Struct("<" + "".join(self._formats.values()))
        self.end = at
        """Offset of what follows the struct."""

    def span(self, name: str) -> slice:
        """Return the bytes of a member."""
        return self._spans[name]

    def between(self, before: str, after: str) -> slice:
        """Return the bytes between two members."""
        return slice(self._spans[before].stop, self._spans[after].start)

    def reader(self, *names: str) -> struct.Struct:
        """Return a struct that unpacks only these members of a record; they must be in order."""
        form, at = "<", 0
        for name in names:
            span = self._spans[name]
            form += f"{span.start - at}x{self._formats[name]}"
            at = span.stop
        return struct.Struct(form)


HEAD = Layout(0, "Q time, Q start_time, Q cgroup, I pid, I tid, I uid, I exec_generation, H kind, H flags, I cpu")
"""Begins every record."""

SYSCALL = Layout(
    HEAD.end,
    "q result, Q argument0, Q argument1, 4Q arguments, Q inode, I device, I magic, i fd, H mode, H event, I vtid, "
    "I padding, H real_path, H path1, H path2, H directory1, H directory2, H blob1, H blob2, H socket",
)
"""A system call or io_uring request, without its texts; their lengths are the last members."""

SOCKET = Layout(
    SYSCALL.end,
    "H family, H type, H protocol, H local_port, H remote_port, H unix_length, B state, 3x padding, 16s local, "
    "16s remote, 128s name",
)
"""The first part after a system call, if its descriptor is a socket."""
