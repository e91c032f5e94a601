"""Runs hunts, each in a process of its own, which is ended when it takes too long or its reader goes away.

DuckDB evaluates what a person wrote. A process that is ended returns all of its memory and files, whatever it was
doing, and its limits don't concern the console.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lanner.console.workers import WorkLimit
from lanner.recorder.store import EventRange
from processor.loading import RuleFile

MAX_OF_ONE, MAX_IN_ALL = 1, 2
MAX_ROWS = 1_000
MAX_TEXT = 4_000
"""Characters of a condition or a SQL text, so that it fits into an address."""
MAX_MESSAGE = 64 << 20
"""Bytes of a message from the process: JSON may need six for a character."""
GRACE_SECONDS = 10.0
"""How long a process that was stopped may take to return what it has found."""
START_SECONDS = 30.0
"""How long it may take to start."""
_BEAT_SECONDS = 1.0
_LOG = logging.getLogger("lanner.console")


@dataclass(frozen=True, slots=True)
class HuntRequest:
    """A hunt."""

    text: str
    is_sql: bool
    place: str
    """Where to read: a key of `HuntSource.places`."""
    events: EventRange
    """With an end."""
    fields: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    rare: int = 0
    rarest_first: bool = False
    limit: int = MAX_ROWS


@dataclass(frozen=True, slots=True)
class HuntSource:
    """Where a console can hunt."""

    places: Mapping[str, str]
    """Archive, topic and recording, those that there are, in words by name."""
    child: Callable[[HuntRequest, Path], tuple[Sequence[str], bytes]]
    """Returns the command of the process of a hunt, and what it reads from its standard input. The folder is for files;
    the process ends when its standard input is closed."""
    seconds: float
    """How long a hunt may take."""
    missing: str = ""
    """What is missing to hunt, and how to add it; empty if nothing is."""
    files: Callable[[], Sequence[RuleFile]] = tuple
    """Rule files whose macros and lists conditions may use. Raises BadInput."""


MessageKind = Literal["beat", "progress", "result", "failed"]


@dataclass(frozen=True, slots=True)
class HuntMessage:
    """What a hunt reports: `result` or `failed` is the last."""

    kind: MessageKind
    value: Mapping[str, Any] = field(default_factory=dict)


class HuntDesk:
    """Starts hunts, and ends those whose reader went away."""

    def __init__(self, source: HuntSource) -> None:
        self.source = source
        self._limit = WorkLimit(
            MAX_IN_ALL,
            0,
            MAX_OF_ONE,
            busy=f"{MAX_IN_ALL} hunts run already; try again when one has ended.",
            own="Your last hunt still runs; stop it first.",
        )
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._is_closed = False

    async def run(self, person: str, request: HuntRequest) -> AsyncGenerator[HuntMessage]:
        """Yield messages of a hunt, at least one a second; closing the generator ends it.

        Raises TooManyAtOnce before the first message, and OSError if no process can be started.
        """
        await self._limit.take(person)
        process: asyncio.subprocess.Process | None = None
        folder: Path | None = None
        try:
            folder = Path(tempfile.mkdtemp(prefix="lanner-hunt-"))
            command, data = self.source.child(request, folder)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=MAX_MESSAGE,
                start_new_session=True,
            )
            self._running[person] = process
            yield HuntMessage("beat")
            assert process.stdin is not None  # noqa: S101  it is a pipe
            process.stdin.write(data)
            async for message in self._messages(process):
                yield message
        finally:
            self._running.pop(person, None)
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            self._limit.release(person)

    async def _messages(self, process: asyncio.subprocess.Process) -> AsyncGenerator[HuntMessage]:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        # It ends by itself in time, and returns what it has found; unless it hangs in one step.
        until = loop.time() + self.source.seconds + START_SECONDS
        line = asyncio.ensure_future(process.stdout.readline())
        try:
            while True:
                while not (await asyncio.wait((line,), timeout=_BEAT_SECONDS))[0]:
                    if process.stdin.is_closing():
                        until = min(until, loop.time() + GRACE_SECONDS)
                    if loop.time() >= until:
                        text = f"the hunt was ended after {self.source.seconds:g} s: take a shorter time"
                        stopped = "the hunt was stopped before it had found anything"
                        yield _failed(stopped if process.stdin.is_closing() else text)
                        return
                    yield HuntMessage("beat")
                message = _failed("the console was stopped") if self._is_closed else _read(line.result())
                yield message
                if message.kind in ("result", "failed"):
                    return
                line = asyncio.ensure_future(process.stdout.readline())
        finally:
            line.cancel()

    def stop(self, person: str) -> bool:
        """Ask the hunt of a person to end with what it has found; return whether there is one."""
        process = self._running.get(person)
        if process is None or process.stdin is None:
            return False
        process.stdin.close()
        return True

    def close(self) -> None:
        """End all hunts."""
        self._is_closed = True
        self._limit.close()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _read(line: bytes) -> HuntMessage:
    """Read a line of a process."""
    try:
        value = dict(json.loads(line))
        kind = value.pop("kind")
    except (ValueError, KeyError, TypeError):
        # It was ended: by its own limits, by the kernel because of a lack of memory, or by a fault of a library.
        return _failed("the hunt's process ended: it may have needed more memory than it may take; take a shorter time")
    if kind == "bug":
        _LOG.error("internal error in a hunt; this is a bug in Lanner\n%s", value.get("text"))
        return _failed("Internal error; this is a bug in Lanner.")
    return HuntMessage(kind, value)


def _failed(text: str) -> HuntMessage:
    return HuntMessage("failed", {"error": text, "problems": []})
