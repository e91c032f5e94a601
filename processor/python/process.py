"""Runs a Python rule file in a child process, with limits, and starts another when it fails.

A request has the events of a batch, so that none costs a round trip of its own. A child that takes too long, ends or
sends something else than a response is killed; until its successor runs, after a wait that grows with each failure, the
file's functions are not called, and their events are counted as faults.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundation.errors import LannerError
from foundation.interpreter import child_command
from foundation.text import printable
from foundation.throttling import Backoff
from processor.python import api
from processor.python.limits import DEFAULT_LIMITS, PythonLimits
from processor.python.server import LENGTH, MAX_MESSAGE, main

ARGUMENT = "python-rule-file"
"""Argument with which a frozen program starts the child."""
START_SECONDS = 10.0
"""How long the first request waits for a child to start on a busy host; later ones don't wait."""
SHARE = 0.5
"""The share of time that a file's functions may take of a processor in the long run."""
BURST = 10.0
"""Seconds that they may take beyond it."""
_WAIT = Backoff(first=1.0, factor=4.0, most=300.0, jitter=0.0)
_MAX_CALLS = 1_000
_MAX_FAULT = 500


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a function for one event."""

    function: int
    """Its index."""
    values: Any
    """The values of the fields that it declares, in their order, or an alert's fields by name."""


@dataclass(slots=True)
class FunctionResults:
    """What the functions returned; positions are those of calls."""

    results: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    """Position, text and output fields of each alert."""
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Position and description of each error."""


class _Failed(LannerError):
    """The child can no longer be used; the message is the reason."""


class PythonProcess:
    """One Python rule file and its process.

    Args:
        file: its name, for errors.
        code: its text.
        functions: name and declared fields of each function that is called.
        limits: what the process may take; None to call no function.
        clock: seconds, for the waits after failures.
    """

    def __init__(
        self,
        file: str,
        code: str,
        functions: Sequence[tuple[str, Sequence[str]]],
        limits: PythonLimits | None = DEFAULT_LIMITS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.file = file
        self.starts = 0
        """How often a process was started."""
        self.failures = 0
        """How often one was abandoned or ended by itself."""
        self.seconds = 0.0
        """Time spent on waiting for responses."""
        self._setup = {"file": file, "code": code, "functions": [(name, list(fields)) for name, fields in functions]}
        self._limits = limits
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None
        self._is_ready = False
        self._consecutive = 0
        self._not_before = 0.0
        self._reason = ""
        self._left = BURST
        self._asked_at = clock()

    def start(self) -> None:
        """Start the process, if none runs, without waiting until it is ready."""
        if self._process is not None or self._limits is None:
            return
        command = [*child_command(main, ARGUMENT), str(self._limits.memory), str(self._limits.seconds)]
        # No variables: they may have passwords.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={},
            start_new_session=True,
        )
        self.starts += 1
        self._process, self._is_ready = process, False
        self._end = weakref.finalize(self, _end, process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    def begin(self) -> None:
        """Start the process ahead of the first request, or forget all that the file's functions remember."""
        self._is_ready, self._consecutive, self._not_before = False, 0, 0.0
        # The first request finds an error again.
        with contextlib.suppress(OSError):
            self.start()

    def ask(self, calls: Sequence[FunctionCall], *, has_deadline: bool = False) -> FunctionResults:
        """Call functions for events and return what they found; never raises.

        has_deadline: whether others wait: then the functions are not called while they have taken more than SHARE.
        """
        answer = FunctionResults()
        first = 0
        for data, count in _requests(calls):
            try:
                if not data:
                    raise _Failed(f"an event has more than {MAX_MESSAGE:,} bytes")  # noqa: TRY301
                self._ask(data, first, count, answer, has_deadline=has_deadline)
            except _Failed as failed:
                answer.faults += ((position, str(failed)) for position in range(first, first + count))
            first += count
        return answer

    def close(self) -> None:
        """End the process."""
        self._end()
        self._process, self._is_ready = None, False

    def _ask(self, data: bytes, first: int, count: int, answer: FunctionResults, *, has_deadline: bool) -> None:
        if self._limits is None:
            raise _Failed("not called here: published Python runs only in processors that accept its signature")
        now = self._clock()
        if now < self._not_before:
            raise _Failed(f"not called after an error, for {self._not_before - now:.0f} s more: {self._reason}")
        self._left = min(BURST, self._left + (now - self._asked_at) * SHARE)
        self._asked_at = now
        if has_deadline and self._left <= 0:
            raise _Failed(
                f"not called for now: the file takes more than {SHARE:.0%} of the time; narrow its conditions"
            )
        try:
            self._begin(self._limits.seconds)
            response = self._exchange(data, self._limits.seconds)
            answer.results += _results(response, first, count)
            answer.faults += _faults(response, first, count)
        except _Failed as failed:
            self._give_up(str(failed))
            raise
        except (ValueError, RecursionError):
            self._give_up("its process sent something else than a response")
            raise _Failed(self._reason) from None
        finally:
            spent = self._clock() - now
            self.seconds += spent
            self._left -= spent
        self._consecutive = 0

    def _begin(self, seconds: float) -> None:
        """Start the process, if none runs, and wait until it has read the file. Raises _Failed."""
        try:
            self.start()
        except OSError as error:
            raise _Failed(f"its process can't be started: {error.strerror}") from None
        if self._is_ready:
            return
        response = self._exchange(_framed(self._setup), START_SECONDS if self.starts == 1 else seconds)
        fault = response.get("fault") if isinstance(response, dict) else None
        if not isinstance(fault, str):
            raise ValueError  # noqa: TRY004
        if fault:
            raise _Failed(f"the file can't be used: {_shown(fault)}")
        self._is_ready = True

    def _give_up(self, reason: str) -> None:
        self.failures += 1
        self._consecutive += 1
        self._reason = reason
        self._not_before = self._clock() + _WAIT.seconds(self._consecutive, None, 0.0)
        self.close()

    def _exchange(self, data: bytes, seconds: float) -> Any:
        """Send a request and return the response. Raises _Failed, or ValueError for what is none."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise _Failed("it has no process")
        source, target = process.stdout.fileno(), process.stdin.fileno()
        left, received = memoryview(data), bytearray()
        size = LENGTH.size
        waiting = select.poll()
        waiting.register(source, select.POLLIN)
        waiting.register(target, select.POLLOUT)
        deadline = time.monotonic() + seconds
        while len(received) < size:
            ready = dict(waiting.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if not ready:
                raise _Failed(f"it took more than {seconds:g} s for the events of a batch, and was ended")
            if source in ready:
                with contextlib.suppress(BlockingIOError):
                    part = os.read(source, min(size - len(received), 1 << 16))
                    if not part:
                        raise _Failed(_ending(process))
                    received += part
            elif left:
                with contextlib.suppress(BlockingIOError, BrokenPipeError):
                    left = left[os.write(target, left) :]
            if not left or ready.get(target, 0) & select.POLLERR:
                waiting.modify(target, 0)
            if size == LENGTH.size == len(received):
                (length,) = LENGTH.unpack(received)
                if length > MAX_MESSAGE or left:
                    raise ValueError
                size += length
        return json.loads(received[LENGTH.size :])


def _requests(calls: Sequence[FunctionCall]) -> Iterator[tuple[bytes, int]]:
    """Yield requests within the limit, each with its number of calls; an empty one for a call that is too large."""
    parts: list[str] = []
    size = 0
    for call in calls:
        part = json.dumps([call.function, call.values], default=_plain)
        if parts and (size + len(part) > MAX_MESSAGE - 100 or len(parts) >= _MAX_CALLS):
            yield _joined(parts), len(parts)
            parts, size = [], 0
        if len(part) > MAX_MESSAGE - 100:
            yield b"", 1
            continue
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield _joined(parts), len(parts)


def _joined(parts: Sequence[str]) -> bytes:
    data = f'{{"calls":[{",".join(parts)}]}}'.encode()
    return LENGTH.pack(len(data)) + data


def _plain(value: object) -> object:
    """Return a value that JSON doesn't have as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _framed(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data


def _results(response: Any, first: int, count: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Return the alerts of a response, of which nothing is trusted. Raises ValueError."""
    found = []
    for each in _list(response, "results", count * api.MAX_RESULTS):
        position, text, fields = each
        if not isinstance(text, str) or not isinstance(fields, dict) or not _is_position(position, count):
            raise ValueError
        try:
            found.append((first + position, api.bounded_text(text), api.output_fields(fields)))
        except TypeError:
            raise ValueError from None
    return found


def _faults(response: Any, first: int, count: int) -> list[tuple[int, str]]:
    found = []
    for position, text in _list(response, "faults", count):
        if not isinstance(text, str) or not _is_position(position, count):
            raise ValueError
        found.append((first + position, _shown(text)))
    return found


def _list(response: Any, name: str, most: int) -> list[Any]:
    found = response.get(name) if isinstance(response, dict) else None
    width = 3 if name == "results" else 2
    if not isinstance(found, list) or len(found) > most:
        raise ValueError
    if not all(isinstance(each, list) and len(each) == width for each in found):
        raise ValueError
    return found


def _is_position(position: object, count: int) -> bool:
    return isinstance(position, int) and not isinstance(position, bool) and 0 <= position < count


def _shown(text: str) -> str:
    return printable(text[:_MAX_FAULT])


def _ending(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return "its process closed its output"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended by itself, with status {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()
