import pytest

from tests.unit.collector.calls import call
from tests.unit.collector.events.writing import written


@pytest.mark.parametrize(
    ("event", "name", "registers", "text", "number"),
    [
        # plain numbers
        ("read", "size", [0, 0, 4096], "4096", 4096),
        ("lseek", "offset", [3, 2**64 - 1], "-1", -1),
        ("listen", "backlog", [3, 2**32 - 1], "-1", -1),
        ("socket", "type", [2, 3], "3", 3),
        ("socket", "type", [2, 3 | 1 << 40], "3", 3),
        ("mknod", "dev", [0, 0, 0x801], "2049", 0x801),
        ("close_range", "last", [3, 2**32 - 1], "4294967295", 2**32 - 1),
        # hexadecimal without a prefix, in capitals
        ("mmap", "addr", [0x7FFF00ABC000], "7FFF00ABC000", 0x7FFF00ABC000),
        ("munmap", "addr", [2**64 - 1], "FFFFFFFFFFFFFFFF", -1),
        ("ioctl", "request", [0, 0x5412], "5412", 0x5412),
        ("ioctl", "request", [0, 0x5412 | 7 << 32], "5412", 0x5412),
        ("fcntl", "arg", [3, 4, 0x800], "800", 0x800),
        ("accept4", "flags", [3, 0, 0, 0o2004000], "80800", 0o2004000),
        ("mkdir", "mode", [0, 0o755], "1ED", 0o755),
        # octal with a leading zero
        ("creat", "mode", [0, 0o644], "0644", 0o644),
        ("creat", "mode", [0, 0], "0", 0),
        ("creat", "mode", [0, 0o4755], "04755", 0o4755),
        # a mode counts only where something may be created
        ("openat", "mode", [-100, 0, 0o100, 0o600], "0600", 0o600),
        ("openat", "mode", [-100, 0, 0o20200002, 0o600], "0600", 0o600),
        ("openat", "mode", [-100, 0, 0o200000, 0o600], "0", 0),
        ("openat", "mode", [-100, 0, 0, 0o600], "0", 0),
        # flags by Falco's numbers and names
        ("openat", "flags", [-100, 0, 0], "O_RDONLY", 1),
        ("openat", "flags", [-100, 0, 1], "O_WRONLY", 2),
        ("openat", "flags", [-100, 0, 2], "O_RDWR", 3),
        ("openat", "flags", [-100, 0, 0o1101], "O_TRUNC|O_CREAT|O_WRONLY", 0o400 | 4 | 2),
        ("openat", "flags", [-100, 0, 0o2000000], "O_RDONLY|O_CLOEXEC", 4097),
        ("mmap", "prot", [0, 0, 7], "PROT_READ|PROT_WRITE|PROT_EXEC", 7),
        ("mprotect", "prot", [0, 0, 0], "PROT_NONE", 0),
        ("unshare", "flags", [0x10000000], "CLONE_NEWUSER", 1048576),
        ("clone", "flags", [0x10000000 | 17], "CLONE_NEWUSER", 1048576),
        ("access", "mode", [0, 5], "R_OK|X_OK", 5),
        ("mount", "flags", [0, 0, 0, 0xC0ED0000 | 3], "RDONLY|NOSUID", 3),
        ("mount", "flags", [0, 0, 0, 3], "RDONLY|NOSUID", 3),
        ("socket", "flags", [2, 1], "0", 0),
        ("fork", "flags", [], "0", 0),
        # one name of many
        ("ptrace", "request", [16, 77], "PTRACE_ATTACH", 11),
        ("socket", "domain", [2], "AF_INET", 2),
        ("fcntl", "cmd", [3, 1030], "F_DUPFD_CLOEXEC", 26),
        ("bpf", "cmd", [5], "BPF_PROG_LOAD", 5),
        ("prctl", "option", [15], "PR_SET_NAME", 15),
        ("setsockopt", "level", [3, 1], "SOL_SOCKET", 1),
        ("setsockopt", "optname", [3, 1, 57], "SO_COOKIE", 53),
        ("setsockopt", "optname", [3, 6, 57], "57", 57),
        # names of bits
        ("chmod", "mode", [0, 0o4755], None, 0o4755),
        # signals, users, groups
        ("kill", "sig", [1, 9], "SIGKILL", 9),
        ("kill", "sig", [1, 0], "0", 0),
        ("kill", "sig", [1, 99], "99", 99),
        ("kill", "pid", [2**32 - 1, 9], "-1", -1),
        ("setuid", "uid", [33], "www-data", 33),
        ("setuid", "uid", [4711], "<NA>", 4711),
        ("setresuid", "suid", [0, 0, 2**32 - 1], "<NONE>", -1),
        ("setgid", "gid", [8], "mail", 8),
        ("chown", "uid", [0, 33], "33", 33),
        ("prctl", "arg2_int", [1, 9], "9", 9),
        ("prctl", "arg2_int", [15, 0x7FFF0000], "0", 0),
        # descriptors by number
        ("openat", "dirfd", [2**32 - 100], "AT_FDCWD", -100),
        ("openat", "dirfd", [5], "5", 5),
        ("close", "fd", [2**32 - 1], "-1", -1),
    ],
)
def test_a_register_is_written_as_falco_does(
    event: str, name: str, registers: list[int], text: str | None, number: int
) -> None:
    """The kernel ignores the upper half of what it takes as an int; text None: only the number counts."""
    found = written(call(event, registers), event, name)

    assert found[1] == number
    assert text is None or found[0] == text
