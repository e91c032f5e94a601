"""Random system calls, and conditions about the same things, so that many of them match."""

from dataclasses import replace
from random import Random

from collector.events.system_calls import BY_EVENT, NONE
from collector.records import tls
from collector.records.dns import DnsAnswer, written
from collector.records.types import Socket, Syscall
from lanner.ruletest.events.descriptors import sockaddr
from tests.unit.collector.calls import WHO, call, file, sock

OPENS = ("open", "openat", "openat", "openat2", "creat")
SOCKETS = ("socket", "accept4", "sendto", "connect", "dup2", "recvfrom", "read")
_WITH_MODES = ("fchmod", "mknod")
FILES = ("ftruncate", "fallocate", "ioctl", "futimesat", "utimensat")
OTHERS = (
    *("ptrace", "prctl", "setns", "unshare", "clone", "clone3", "mount", "kill", "pipe2", "open_by_handle_at"),
    *_WITH_MODES,
)
PATHS = (
    *("link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rename", "renameat2"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmodat", "fchmodat2", "truncate", "move_mount", "setxattr"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
EVENTS = tuple(sorted({*OPENS, *SOCKETS, *OTHERS, *PATHS, *FILES}))
_PARTS = ("etc", "shadow", "passwd", "usr", "bin", ".ssh", "id_rsa", "log")
_DEEP, _LONG = "/x" * 57, "/" + "y" * 250 + "/" + "z" * 60
_FLAGS = (0, 1, 2, 3, 0o100, 0o1001, 0o102, 0o20200002, 0o20000002, 0o2000000, 0o1101, 0o200000, 0x1_0000_0001)
_NUMBERS = (0, 1, 2, 4, 5, 10, 13, 15, 16, 17, 38, 0x4206, 0x10000000, 0x20000, 0x7C020000, 1 << 32 | 16, (1 << 32) - 1)
_MODES = (
    0o644,
    0o755,
    0o4755,
    0o2755,
    0o1777,
    0o104755,
    0o20666,
    0o60600,
    0o140000,
    1 << 20 | 0o4000,
    1 << 32 | 0o4000,
)
_ADDRESSES = ("10.1.2.3", "127.0.0.1", "192.168.0.1", "8.8.8.8", "0.0.0.0")
_MOST_OF_A_LITERAL = 250
_ANSWER = written(DnsAnswer("example.org", "A", "NOERROR", ("192.0.2.1",)))
_HELLO = tls.written("example.org")
_PORTS = (0, 22, 53, 80, 40000)


def path(chance: Random) -> str:
    """Return an absolute path: most of a few names, some of 60 components, some of 300 bytes."""
    head = chance.choice(["", "", "", "", "/etc", "/usr", "/etc/usr", _DEEP, _LONG, "/jail", "/etc/bin/passwd/usr"])
    return head + "/" + "/".join(chance.choice(_PARTS) for _ in range(chance.randint(1, 2)))


def _in_rule(chance: Random) -> str:
    """Return a path that a rule may contain: less than 256 bytes."""
    return next(name for _ in range(100) if len(name := path(chance)) < _MOST_OF_A_LITERAL)


def requested_path(chance: Random, name: str) -> str:
    """Write a path in one of the ways that programs use."""
    head, tail = name.rsplit("/", 1)
    return chance.choice(
        [
            *[name] * 8,
            *[tail] * 4,
            *(name[1:], f"{head}//{tail}", f"{head}/./{tail}", f"{head}/usr/../{tail}", f"./{tail}", f"{name}/"),
            *("/", ".", "", "..", f"{name}..", f"{head}/{'w' * 500}"),
        ]
    )


def root_directory(chance: Random) -> str | None:
    """Return the root directory of a process; None if it is the host's."""
    return chance.choice([*[None] * 8, "/jail", "/etc", "/d" * 70])


def random_call(chance: Random) -> Syscall:
    """Return any call, by any user, by the 64-bit or the 32-bit entry."""
    kind = chance.choice([_open, _open, _socket, _other, _path, _path, _file])
    return replace(kind(chance), who=replace(WHO, uid=chance.choice([0, 0, 1000, (1 << 32) - 2])))


def _open(chance: Random) -> Syscall:
    """Return an open; the kernel's path differs behind a link, in a chroot, and after nsenter."""
    event = chance.choice(OPENS)
    arguments = [chance.choice(_NUMBERS), 0, 0, chance.choice([0, 0o644, 0o755]), 0, 0]
    flags = chance.choice(_FLAGS)
    arguments[1 if event == "open" else 2] = flags
    result = chance.choice([3, 3, 0, 7, -2, -13])
    name = path(chance)
    real = chance.choice([name, name, name, path(chance), f"/jail{name}", None])
    mode = chance.choice([0o100644, 0o40755, 0o20666, 0o104755])
    created = {"is_created": bool(flags & 0o100), "is_new_setuid": bool(flags & 0o100 and mode & 0o4000)}
    opened = file(real, mode, **created)
    given = requested_path(chance, name)
    directory = chance.choice([*[name.rsplit("/", 1)[0] or "/"] * 6, "/", "/etc", "/etc" + "/x" * 300, "/d" * 70, None])
    if given.startswith("/"):
        directory = root_directory(chance)
        opened = file(f"{directory}{name}" if directory and real == name else real, mode, **created)
    return call(
        event,
        arguments,
        result=result,
        fd=result if result >= 0 else None,
        file=opened if result >= 0 else None,
        path1=chance.choice([given] * 20 + [None]),
        directory1=directory,
        blob1=b"".join(number.to_bytes(8, "little") for number in (flags, 0o755, 0)) if event == "openat2" else b"",
        is_compat=chance.random() < 0.3,
    )


def _file(chance: Random) -> Syscall:
    name = path(chance)
    opened = chance.choice([file(name), file(name), file(name, is_created=True), file(None), None])
    result, numbers = chance.choice([0, 0, 0, -22]), [chance.choice(_NUMBERS) for _ in range(6)]
    return call(chance.choice(FILES), numbers, result=result, fd=5, file=opened, is_compat=chance.random() < 0.3)


def _path(chance: Random) -> Syscall:
    name, other = path(chance), path(chance)
    event = chance.choice(PATHS)
    given, root = requested_path(chance, name), root_directory(chance)
    elsewhere = chance.choice([name.rsplit("/", 1)[0] or "/", "/etc", "/d" * 70, None])
    has_directory = BY_EVENT[event].paths[0][1] != NONE
    return call(
        event,
        [chance.choice(_NUMBERS) for _ in range(6)],
        result=chance.choice([0, 0, 0, -2, -13]),
        path1=chance.choice([given] * 20 + [None]),
        directory1=(root if given.startswith("/") else elsewhere) if has_directory else None,
        path2=other if BY_EVENT[event].paths[1:] else None,
        directory2=root,
        is_compat=chance.random() < 0.3,
    )


def _socket(chance: Random) -> Syscall:
    event = chance.choice(SOCKETS)
    result = chance.choice([0, 1, 2, 3, 3, -1, -13, -115])
    facts: dict[str, object] = {}
    if result >= 0 or event in ("sendto", "connect"):
        facts["fd"] = result if event in ("socket", "accept4", "dup2") else 5
        if chance.random() < 0.8:
            facts["socket"] = chance.choice(
                [
                    *[_internet(chance)] * 3,
                    sock(10, local_ip="::1", remote_ip="fe80::1", local_port=80, remote_port=443),
                    *(sock(1, unix_path="", protocol=0), sock(16, protocol=0)),
                ]
            )
        elif chance.random() < 0.8:
            facts["file"] = file("/etc/passwd")
    if event in ("recvfrom", "read"):
        facts["blob1"] = _ANSWER
        result = len(_ANSWER) if result > 0 else result
        facts["blob2"] = chance.choice(
            [b"", sockaddr(("9.9.9.9", 53)), sockaddr(("::1", 53)), sockaddr(("9.9.9.9", 22))]
        )
    if event in ("sendto", "write"):
        facts["blob1"] = chance.choice([_HELLO, b"GET / HTTP/1.1"])
        result = len(_HELLO) if result > 0 else result
    numbers = [chance.choice(_NUMBERS) for _ in range(6)]
    return call(event, numbers, result=result, is_compat=chance.random() < 0.3, **facts)


def _internet(chance: Random) -> Socket:
    kind, protocol = chance.choice([(1, 6), (1, 6), (2, 17), (3, 6), (3, 1)])
    return sock(
        chance.choice([2, 2, 10]),
        local_ip=chance.choice(_ADDRESSES),
        remote_ip=chance.choice(_ADDRESSES),
        local_port=chance.choice(_PORTS),
        remote_port=chance.choice(_PORTS),
        type=kind,
        protocol=protocol,
        state=chance.choice([1, 7, 10]),
        is_server=chance.choice([None, False, True]) if (kind, protocol) == (1, 6) else None,
    )


def _other(chance: Random) -> Syscall:
    event = chance.choice(OTHERS)
    result = chance.choice([0, 0, 1, 3, 1 << 33, (1 << 32) + 1, -1, -13, -5000])
    facts: dict[str, object] = {"path1": "x"} if event in ("prctl", "mount", "mknod") else {}
    if event == "open_by_handle_at" and result in (0, 1, 3):
        facts |= {"fd": result, "file": file(path(chance))}
    numbers = [chance.choice(_MODES if event in _WITH_MODES else _NUMBERS) for _ in range(6)]
    is_compat = chance.random() < 0.3
    if is_compat:
        # No 32-bit call returns more.
        result = result if abs(result) < 1 << 31 else 1
    return call(event, numbers, result=result, is_compat=is_compat, **facts)


_OF_ALL = (
    *("evt.failed = true", "evt.failed = false", "evt.rawres >= 0", "evt.rawres in (0, 1, 2)", "evt.rawres < 0"),
    *("evt.res = EACCES", "evt.res in (EACCES, EPERM)", "evt.res = SUCCESS", "evt.res startswith E"),
    *("user.uid = 0", "user.uid != 0", "user.uid in (0, 1000)", "proc.name = bash", "proc.name != bash", "fd.num >= 0"),
)
_OF_OPENS = (
    *("evt.is_open_read = true", "evt.is_open_write = true", "evt.is_open_write = false", "evt.is_open_exec = true"),
    *("evt.is_open_create = true", "evt.arg.flags contains O_TRUNC", "fd.nameraw contains ../", "fd.name exists"),
    *("evt.is_open_exec = false", "evt.is_open_create != true", "evt.is_open_setuid = true"),
)
_OF_SOCKETS = (
    *("fd.type in (ipv4, ipv6)", "fd.type = unix", "fd.typechar in (4, 6)", "fd.typechar = f", "fd.sockfamily = ip"),
    *("fd.l4proto = tcp", "fd.l4proto != tcp", "fd.l4proto in (udp, icmp)", "fd.sport = 22", "fd.cport = 40000"),
    *("fd.lport in (22, 80)", "fd.rport in (80, 443)", "fd.sip = 127.0.0.1", "fd.cip in (10.1.2.3, 8.8.8.8)"),
    *("fd.snet in (10.0.0.0/8, 127.0.0.0/8)", "fd.cnet = 192.168.0.0/16", "fd.lip != 10.1.2.3", "fd.net = 10.0.0.0/8"),
    *("evt.arg.domain contains AF_PACKET", "evt.arg.domain = AF_INET", "fd.rnet = 8.0.0.0/8"),
    *("evt.arg.type in (1, 10)", "dns.question.name exists", "dns.answers startswith anyof (1, 2)"),
    *("tls.client.server_name = example.org", "len(tls.client.server_name) > 60"),
)
_OF_OTHERS = (
    *("evt.arg.request contains PTRACE_ATTACH", "evt.arg.request in (PTRACE_TRACEME, PTRACE_SEIZE)"),
    *("evt.arg.option = PR_SET_NAME", "evt.arg.flags contains CLONE_NEWUSER", "evt.arg.flags contains CLONE_NEW"),
    *("evt.arg.nstype contains CLONE_NEWNET", "evt.arg.flags contains MS_BIND", "evt.arg.flags contains O_CLOEXEC"),
    *("container.id = host", "container.id != host", "evt.arg.mode contains S_ISUID", "evt.arg.mode contains S_IS"),
    *("evt.arg.mode contains S_IFCHR", "evt.arg.mode contains S_IX", "evt.arg.mode startswith S_IXOTH"),
    *("evt.arg.created = 0", "evt.arg.created = 1", "evt.arg.created in (0, 1)"),
    *("evt.arg.request = 10", "evt.arg.request in (7C020000, 26)", "evt.arg.arg2_str startswith x"),
)


FIXED_CHECKS = (*_OF_ALL, *_OF_OPENS, *_OF_SOCKETS, *_OF_OTHERS)
"""Checks that involve no path."""


def check_of_name(chance: Random) -> str:
    """Return a check of an opened file's name."""
    name = _in_rule(chance)
    head, tail = name.rsplit("/", 1)
    return chance.choice(
        [
            *(
                f"fd.name = {name}",
                f"fd.name in ({name}, {_in_rule(chance)})",
                f"fd.name startswith {name[: chance.randint(2, len(name))]}",
            ),
            *(f"fd.name endswith /{tail}", f"fd.name endswith {name[-chance.randint(1, 45) :]}"),
            *(f"fd.name pmatch ({head or '/etc'})", f'fd.name glob "{head}/*"', f"fd.name contains {tail}"),
            *(f"fd.name startswith anyof ({head or '/etc'}, /usr/)", f"fd.name endswith anyof (/{tail}, .conf)"),
            *(f"evt.path endswith {name[-8:]}", f"evt.path in ({name}, {_in_rule(chance)})"),
            *(f"fd.directory = {head or '/etc'}", f"fd.filename in ({tail}, shadow)", f"fd.name != {name}"),
        ]
    )


def check_of_path(chance: Random) -> str:
    """Return a check of a path of a call that opens nothing."""
    name = chance.choice(
        [
            *("evt.path", "fs.path.name", "fs.path.source", "fs.path.target", "evt.arg.oldpath", "evt.arg.newpath"),
            *("evt.arg.target", "evt.arg.path", "evt.arg.name", "evt.arg[1]"),
        ]
    )
    text = _in_rule(chance)
    return chance.choice(
        [
            *(f"{name} = {text}", f"{name} in ({text}, {_in_rule(chance)})", f"{name} startswith {text[:8]}"),
            *(f"{name} endswith {text[-8:]}", f"{name} pmatch ({text})", f'{name} glob "{text[:6]}*"'),
            *(f"{name} startswith anyof ({text[:8]}, /tmp)", f"{name} endswith anyof ({text[-8:]}, .conf)"),
            *(f"{name} = {text[1:]}", f"fs.path.target = {text}", "evt.arg.name startswith /etc"),
            *("evt.arg.mode contains FALLOC_FL_PUNCH_HOLE", "evt.arg.mode contains S_ISUID"),
        ]
    )


def random_rule(chance: Random) -> str:
    """Return a condition on event types of one kind; most checks are joined by `and`, some negated or by `or`."""
    kind, own = chance.choice(
        [
            *((OPENS, _OF_OPENS), (OPENS, _OF_OPENS), (SOCKETS, _OF_SOCKETS), (OTHERS, _OF_OTHERS)),
            *((PATHS, ()), (PATHS, ()), (FILES, _OF_OTHERS)),
        ]
    )

    def check() -> str:
        draw = chance.random()
        if kind is PATHS and draw < 0.8:
            text = check_of_path(chance)
        elif kind in (OPENS, FILES) and draw < 0.5:
            text = check_of_name(chance)
        else:
            text = chance.choice(own if draw < 0.8 else _OF_ALL)
        return f"not {text}" if chance.random() < 0.2 else text

    def joined(word: str, count: int) -> str:
        return "(" + f" {word} ".join(check() for _ in range(count)) + ")"

    parts = [joined("or", 2) if chance.random() < 0.25 else check() for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.2:
        parts.append(f"not {joined(chance.choice(['and', 'or']), 2)}")
    types = sorted({chance.choice(kind) for _ in range(7 if kind is PATHS else 2)})
    return f"evt.type in ({', '.join(types)}) and {' and '.join(parts)}"
