"""The child process that runs the functions of one Python rule file.

It reads requests from standard input and writes responses to standard output: each is its length, four bytes, and JSON.
The first request has the text of the file. The process gives up its rights before it reads it.
"""

import importlib
import json
import os
import signal
import struct
import sys
import time
import types

from processor.python import api, sandbox

TYPE_CHECKING = False  # the name that type checkers know; importing `typing` here takes time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_MESSAGE = 1 << 20
"""Bytes of a request or a response."""
MAX_FAULT = 300
"""Characters of the description of a fault."""
LENGTH = struct.Struct(">I")
LATE = ("_strptime", "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.utf_16")
"""Modules that the standard library imports when it first needs them, when no file can be opened any longer."""


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
        sandbox.enter(memory)
        rights = ""
    except (sandbox.NoSandbox, OSError, ValueError) as error:
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
