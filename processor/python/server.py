"""The child process that runs the functions of one Python rule file, without rights.

It reads requests from standard input and writes responses to standard output: each is its length, four bytes, and JSON.
The first request has the text of the file. The process gives up its rights before it reads it: after that, it computes,
reads and writes what is open, and nothing else. It can open no file and no socket, start no process and no thread, and
send no signal. What it tries in spite of that fails with EPERM, which Python reports as PermissionError.

Source: linux/seccomp.h, linux/audit.h, linux/filter.h, linux/prctl.h; the numbers of calls: asm/unistd_64.h of x86-64,
asm-generic/unistd.h.
"""

import contextlib
import ctypes
import importlib
import json
import os
import platform
import resource
import signal
import struct
import sys
import time
import types

from foundation.errors import LannerError
from processor.python import api

TYPE_CHECKING = False  # the name that type checkers know; importing `typing` here takes time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NOBODY = 65534
_NO_NEW_PRIVS, _SET_DUMPABLE, _SET_SECCOMP, _FILTER_MODE = 38, 4, 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM = 1
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K."""
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH of each, and the column of its numbers."""
_CALLS = (
    *((0, 63), (1, 64), (3, 57)),  # read, write, close
    *((9, 222), (10, 226), (11, 215), (12, 214), (25, 216), (28, 233)),  # memory: mmap, mprotect … madvise
    *((15, 139), (38, 103), (60, 93), (231, 94), (219, 128)),  # rt_sigreturn, setitimer, exit, exit_group, restart
    *((24, 124), (202, 98), (35, 101), (230, 115)),  # sched_yield, futex, nanosleep, clock_nanosleep
    *((228, 113), (229, 114), (96, 169), (318, 278)),  # clock_gettime, clock_getres, gettimeofday, getrandom
    *((39, 172), (186, 178), (131, 132)),  # getpid, gettid, sigaltstack
)

MAX_MESSAGE = 1 << 20
"""Bytes of a request or a response."""
MAX_FAULT = 300
"""Characters of the description of a fault."""
LENGTH = struct.Struct(">I")
LATE = ("_strptime", "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.utf_16")
"""Modules that the standard library imports when it first needs them, when no file can be opened any longer."""


class NoSandbox(LannerError):
    """This kernel can't restrict the process; the message is the reason."""


def enter_sandbox(memory: int) -> None:
    """Take all rights away. memory: limit of the address space, bytes. Raises NoSandbox."""
    # The first to end if the host has too little memory.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    if os.geteuid() == 0:
        # A root without CAP_SETUID stays root, and can do nothing that needs a system call of those below.
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, memory),
    ):
        resource.setrlimit(limit, (value, value))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program()
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0):
        raise NoSandbox(f"prctl: {os.strerror(ctypes.get_errno())}")
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.c_char_p(header), 0, 0):
        raise NoSandbox(f"the kernel refuses a seccomp filter: {os.strerror(ctypes.get_errno())}")


def _program() -> bytes:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise NoSandbox(f"the numbers of system calls of {machine} are not known")
    architecture, column = _ARCHITECTURES[machine]
    numbers = [each[column] for each in _CALLS]
    steps = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        *((_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


class _NoOutput:
    """Standard output and error of a rule file."""

    def write(self, _text: str) -> int:
        raise PermissionError("a rule file can't print: yield a text, or a dict of output fields")

    def flush(self) -> None:
        """Do nothing: the interpreter calls it at its end."""


def main(arguments: list[str]) -> None:
    """Serve standard input. arguments: limit of the address space in bytes, and of a request in seconds."""
    memory, seconds = int(arguments[0]), float(arguments[1])
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # These signals are for the processor, which may still send requests while it shuts down.
        signal.signal(number, signal.SIG_IGN)
    for name in (*api.MODULES, *LATE):
        importlib.import_module(name)
    time.localtime()  # reads the time zone
    _publish()
    try:
        enter_sandbox(memory)
        rights = ""
    except (NoSandbox, OSError, ValueError) as error:
        rights = f"a rule file is not run without limits: {error}"
    sys.stdout = sys.stderr = _NoOutput()
    functions: list[Callable[[Any], Any]] = []
    fields: list[list[str]] = []
    file = ""
    while (request := _read(requests)) is not None:
        # The default action of the signal ends this process, also if nobody is there to end it.
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
        if "code" in request:
            file, fields = request["file"], [each for _, each in request["functions"]]
            fault = rights
            try:
                functions = [] if rights else _load(request)
            except BaseException as error:  # noqa: BLE001  the file may raise anything
                fault = described(error, file)
            answer: dict[str, Any] = {"fault": fault}
        else:
            answer = _respond(file, functions, fields, request["calls"])
        _write(answers, answer)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _publish() -> None:
    """Make the decorators importable, without the rest of the package that has them."""
    package, _, name = api.PUBLIC.rpartition(".")
    parent = types.ModuleType(package)
    setattr(parent, name, api)
    parent.__path__ = []
    sys.modules[package], sys.modules[api.PUBLIC] = parent, api


def _load(request: "dict[str, Any]") -> "list[Callable[[Any], Any]]":
    module = types.ModuleType("rules")
    module.__file__ = request["file"]
    sys.modules["rules"] = module  # dataclasses look for the module of a class there
    exec(compile(request["code"], request["file"], "exec"), module.__dict__)  # noqa: S102  after the rights are gone
    return [getattr(module, name) for name, _ in request["functions"]]


def _respond(
    file: str, functions: "list[Callable[[Any], Any]]", fields: "list[list[str]]", calls: "list[Any]"
) -> "dict[str, Any]":
    """Call functions: [index of the function, the values of its fields, or a mapping of the fields of an alert]."""
    results: list[Any] = []
    faults: list[Any] = []
    for index, (number, values) in enumerate(calls):
        try:
            known = values if isinstance(values, dict) else dict(zip(fields[number], values, strict=True))
            found = api.results_of(functions[number](api.Event(known)))
            results += [(index, text, more) for text, more in found]
        except BaseException as error:  # noqa: BLE001  a function may raise anything
            faults.append((index, described(error, file)))
    return {"results": results, "faults": faults}


def described(error: BaseException, file: str) -> str:
    """Return what an error is, and the line of the file where it was raised."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    except Exception:  # noqa: BLE001  the class of the error may be the file's own
        text = ""
    where = f" ({file}:{line})" if line else ""
    return f"{type(error).__name__[:60]}: {text[:MAX_FAULT]}{where}"


def _read(source: int) -> "Any":
    head = _whole(source, LENGTH.size)
    return None if head is None else json.loads(_whole(source, *LENGTH.unpack(head)) or b"null")


def _whole(source: int, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(source, min(size - len(parts), 1 << 16))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _write(target: int, answer: "dict[str, Any]") -> None:
    data = json.dumps(answer).encode()
    if len(data) > MAX_MESSAGE:
        what = f"the alerts of one batch have {len(data):,} bytes; the limit is {MAX_MESSAGE:,}"
        data = json.dumps({"results": [], "faults": [(0, what)]}).encode()
    view = memoryview(LENGTH.pack(len(data)) + data)
    while view:
        view = view[os.write(target, view) :]
