"""Evaluates a call as lanner.bpf.c does, slowly and plainly, from the same tables; imports no code under test."""

from ipaddress import ip_address

from collector.events.system_calls import CALLS
from collector.pushdown import DROP, JUDGE, FilterLayout, KernelTest
from collector.records.types import Syscall
from schemas.filter import CREATE, FAILED, MAX_PREFIX, READ, TRUNCATE, WRITE

RESULT, REGISTER, UID, FAMILY, LOCAL_PORT, REMOTE_PORT, LOCAL_IP, REMOTE_IP, PROTOCOL = range(1, 10)
NEW_SETUID, CREATED, ANSWER, HELLO = range(10, 14)
U32 = 0xFFFFFFFF
SAME_BYTES = 112
OPENS = ("open", "openat", "openat2", "creat")
TEXTS = ("symlink", "symlinkat", "setxattr", "fsetxattr", "setxattrat", "prctl")
OF_FILES = ("ftruncate", "fallocate", "ioctl")
OF_EITHER = ("futimesat", "utimensat")
RECEIVES = ("read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg")
SENDS = ("write", "writev", "send", "sendto", "sendmsg", "sendmmsg")
FLAGS_AT = {"open": 1, "openat": 2}


def passes(layout: FilterLayout, call: Syscall) -> bool:
    """Return whether the kernel side would send a call."""
    event = CALLS[call.event].event
    row = layout.rows.get(event)
    if row is None:
        return True
    number = class_of(event, call)
    if row.verdicts[number] != JUDGE:
        return row.verdicts[number] != DROP
    clauses = row.classes[number]
    for test in row.tests:
        answer = answer_of(test, call)
        if answer is not None:
            clauses &= test.if_yes if answer else test.if_no
    if not clauses or not row.has_patterns or clauses & layout.anywhere:
        return bool(clauses)
    raw = (call.path1 or "").encode("utf-8", "surrogateescape")
    kernels = ((call.file and call.file.path) or "").encode("utf-8", "surrogateescape")
    if event in OF_FILES or (event in OF_EITHER and call.path1 is None):
        return not kernels or call.file is None or call.file.is_pseudo or bool(clauses & clauses_of(layout, kernels))
    second = len(CALLS[call.event].paths) > 1
    if event in TEXTS:
        if not 2 <= len(raw) <= 509 or clauses & clauses_of(layout, raw):
            return True
        return second and is_of_interest(layout, clauses, call.path2, call.directory2)
    if event in OPENS and call.result >= 0 and raw == kernels and 2 <= len(raw) < SAME_BYTES:
        return bool(clauses & clauses_of(layout, raw))
    if is_of_interest(layout, clauses, call.path1, call.directory1):
        return True
    if second and is_of_interest(layout, clauses, call.path2, call.directory2):
        return True
    if call.result < 0 or event not in OPENS:
        return False
    if call.file is None:
        return True
    return call.file.path is not None and bool(clauses & clauses_of(layout, kernels))


def is_of_interest(layout: FilterLayout, clauses: int, path: str | None, directory: str | None) -> bool:
    """Return whether a path that was passed could matter: from its directory, and from another root also as passed."""
    raw = (path or "").encode("utf-8", "surrogateescape")
    if not 2 <= len(raw) <= 509 or any(part in raw for part in (b"//", b"/.", b"..")) or raw.endswith(b"/"):
        return True
    if raw.startswith(b"./"):
        return True
    if raw.startswith(b"/"):
        if directory is None or clauses & clauses_of(layout, raw):
            return bool(clauses & clauses_of(layout, raw))
    elif directory is None:
        return True
    raw = directory.encode("utf-8", "surrogateescape").rstrip(b"/") + b"/" + raw.lstrip(b"/")
    return bool(clauses & clauses_of(layout, raw))


def class_of(event: str, call: Syscall) -> int:
    """Return the class of a call."""
    number = FAILED if -4096 < call.result < 0 else 0
    if event == "creat":
        return number | WRITE | CREATE
    if event not in FLAGS_AT:
        return number
    flags = call.arguments[FLAGS_AT[event]] & U32
    number |= READ * (flags & 3 in (0, 2)) | WRITE * (flags & 3 in (1, 2)) | TRUNCATE * bool(flags & 0o1000)
    return number | CREATE * bool(flags & 0o100 or flags & 0o20200000 == 0o20200000)


def answer_of(test: KernelTest, call: Syscall) -> bool | None:
    """Evaluate a predicate; None if the kernel side can't."""
    value = subject_of(test, call)
    return None if value is None else (value & U32 & test.mask) in test.values


def subject_of(test: KernelTest, call: Syscall) -> int | None:
    """Return the subject of a predicate."""
    if test.subject == RESULT:
        return min(call.result, 0x7FFFFFFF)
    if test.subject == REGISTER:
        return call.arguments[test.register]
    if test.subject == UID:
        return call.who.uid
    if test.subject == NEW_SETUID:
        return int(call.file is not None and call.file.is_new_setuid)
    if test.subject == CREATED:
        return int(call.file is not None and call.file.is_created)
    if test.subject == ANSWER:
        return int(is_answer(call))
    if test.subject == HELLO:
        return int(is_hello(call))
    if call.socket is None and call.file is None:
        return None
    sock = call.socket
    if test.subject in (FAMILY, PROTOCOL):
        return 0 if sock is None else sock.family if test.subject == FAMILY else sock.protocol
    if sock is None or sock.family not in (2, 10) or not sock.remote_port:
        return None
    if test.subject in (LOCAL_PORT, REMOTE_PORT):
        return (sock.local_port if test.subject == LOCAL_PORT else sock.remote_port) or None
    address = ip_address(sock.local_ip if test.subject == LOCAL_IP else sock.remote_ip)
    return int(address) or None if address.version == 4 else None


def is_answer(call: Syscall) -> bool:
    """Return whether a call received something from port 53: of the socket's other end, or of the address returned."""
    sock = call.socket
    if sock is None or sock.family not in (2, 10) or call.result <= 0 or CALLS[call.event].event not in RECEIVES:
        return False
    return (sock.remote_port or int.from_bytes(call.blob2[2:4], "big")) == 53


def is_hello(call: Syscall) -> bool:
    """Return whether a call sends a ClientHello over TCP, of which its data is the beginning."""
    sock, data = call.socket, call.blob1
    if sock is None or sock.family not in (2, 10) or sock.protocol not in (6, 262) or call.result <= 0:
        return False
    return CALLS[call.event].event in SENDS and data[:2] == b"\x16\3" and data[5:6] == b"\1"


def clauses_of(layout: FilterLayout, path: bytes) -> int:
    """Return the clauses of the longest prefix and the longest suffix in the tables."""
    ended = (path + b"\0")[:MAX_PREFIX]
    prefix = max((text for text in layout.prefixes if ended.startswith(text)), key=len, default=None)
    suffix = max((text for text in layout.suffixes if path.endswith(text)), key=len, default=None)
    found = 0 if prefix is None else layout.prefixes[prefix]
    return found | (0 if suffix is None else layout.suffixes[suffix])
