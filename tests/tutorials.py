"""Runs the commands of a tutorial as its reader does, and compares what they print with the page.

A comment before a fenced block names what the block is:

    <!-- file: NAME -->   the file NAME
    <!-- run -->          commands after `$ `, each with its complete output
    <!-- start -->        a command that keeps running, and how its output begins
    <!-- sees -->         what that command prints next
    <!-- stop -->         Ctrl-C, and what that command prints at its end

`run: live` and so on, and everything about a command that keeps running, needs the kernel. `…` stands for any text, on
a line of its own for any lines. Times, dates, durations, numbers of three digits or more and ids may differ; an id
that appears again means the same one. Spaces between words don't count, because columns depend on the machine.
"""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PAGES = Path(__file__).parents[1] / "docs" / "tutorials"
PATIENCE = 30.0
_BLOCK = re.compile(r"^<!-- (file|run|start|sees|stop)(?:: (\S+))? -->\n```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ERASED = re.compile(rb"[^\n]*\r\x1b\[K")
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")
_WIDTH = 100
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VARIABLE = re.compile(
    rf"(?P<id>{_UUID})"
    r"|(?P<time>\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<duration>\b\d+(?:\.\d+)? m?s\b)"
    r"|(?P<number>\b\d[\d,]{2,}\b)"
    r"|(?P<lines>^…\n)"
    r"|(?P<text>…)",
    re.MULTILINE,
)
_PATTERNS = {
    "time": r"\d\d:\d\d:\d\d(?:\.\d+)?",
    "date": r"\d{4}-\d\d-\d\d",
    "duration": r"\d+(?:\.\d+)? m?s",
    "number": r"[\d,]+",
    "lines": r"(?:[^\n]*\n)*?",
    "text": r"[^\n]*",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block that is run."""

    kind: str
    argument: str
    text: str
    line: int

    @property
    def live(self) -> bool:
        """Whether it needs the kernel."""
        return self.argument == "live" or self.kind in {"start", "sees", "stop"}


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page that have a marker."""
    return [
        Block(found[1], found[2] or "", found[3], 1 + page.count("\n", 0, found.start()))
        for found in _BLOCK.finditer(page)
    ]


class Reader:
    """Somebody at a terminal who follows a page in a folder of his own."""

    def __init__(self, folder: Path, *, replaced: Mapping[str, str] | None = None, columns: int = 0) -> None:
        """Replace texts of the page, such as addresses, by those of the test.

        columns: the width of the terminal; 0 for one that doesn't know its width.
        """
        self._folder = folder
        self._replaced = dict(replaced or {})
        programs = folder / ".bin"
        programs.mkdir()
        _script(programs / "sudo", '[ "$1" = -u ] && shift 2\nexec "$@"')
        _script(programs / "lanner", f'exec "{sys.executable}" -m lanner "$@"')
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LANNER", "FALCO"))}
        self._environment = clean | {
            "PATH": f"{programs}:{clean['PATH']}",
            "PYTHONPATH": str(PAGES.parents[1]),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "TERM": "xterm",
            "LANNER_HOSTNAME": "web-1",
            "LANNER__KEEP__FOLDER": f"{folder}/.state/kept",
            "LANNER__MEMORY__FILENAME": f"{folder}/.state/memory",
            "LANNER__ACTIONS__SIMULATIONS_DIR": f"{folder}/.state/simulations",
            "LANNER__NOTIFIER__STATE_DIR": f"{folder}/.state/outboxes",
        }
        if columns:
            self._environment["COLUMNS"] = str(columns)
        self._running: _Terminal | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.end(signal.SIGKILL)

    def follow(self, page: str, *, live: bool) -> None:
        """Do what a page describes; without live, leave out what needs the kernel."""
        for block in blocks(page):
            if live or not block.live:
                try:
                    self._do(block)
                except AssertionError as error:
                    raise AssertionError(f"line {block.line}: {error}") from None

    def _do(self, block: Block) -> None:
        text = self._as_here(block.text)
        match block.kind:
            case "file":
                (self._folder / block.argument).write_text(text)
            case "run":
                for command, expected in _session(text):
                    terminal = self._start(command)
                    terminal.wait()
                    self._compare(self._as_here(expected), terminal.text, command)
            case "start":
                [(command, expected)] = _session(text)
                self._running = self._start(command)
                self._wait_for(expected)
            case "sees":
                self._wait_for(text)
            case "stop":
                assert self._running is not None
                self._running.end(signal.SIGINT)
                self._wait_for(text.removeprefix("^C\n"))
                self._running = None

    def _start(self, command: str) -> "_Terminal":
        return _Terminal(self._as_here(command), self._folder, self._environment)

    def _as_here(self, text: str) -> str:
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        return text

    def _compare(self, expected: str, actual: str, command: str) -> None:
        found = re.fullmatch(self._pattern(expected), _plain(actual))
        assert found, f"$ {command}\n--- expected\n{expected}\n--- printed\n{actual}"
        self._learn(found, expected)

    def _wait_for(self, expected: str) -> None:
        assert self._running is not None
        pattern = re.compile(self._pattern(expected))
        deadline = time.monotonic() + PATIENCE
        while not (found := pattern.search(_plain(self._running.text))):
            assert time.monotonic() < deadline, f"--- expected\n{expected}\n--- printed\n{self._running.text}"
            time.sleep(0.05)
        self._learn(found, expected)

    def _pattern(self, expected: str) -> str:
        """Return a regular expression for a piece of output; ids that are known by now must be the same."""
        seen: dict[str, str] = {}
        known = set(self._replaced.values())

        def variable(found: re.Match[str]) -> str:
            if found.lastgroup != "id":
                return _PATTERNS[str(found.lastgroup)]
            if found[0] in known:
                return found[0]
            if found[0] in seen:
                return f"(?P={seen[found[0]]})"
            seen[found[0]] = name = f"id{len(seen)}"
            return f"(?P<{name}>{_UUID})"

        plain = _plain(expected)
        pieces, end = [], 0
        for found in _VARIABLE.finditer(plain):
            pieces += [re.escape(plain[end : found.start()]), variable(found)]
            end = found.end()
        return "".join([*pieces, re.escape(plain[end:])])

    def _learn(self, found: re.Match[str], expected: str) -> None:
        """Remember which ids stand for those of the page."""
        known = set(self._replaced.values())
        ids = [shown for shown in dict.fromkeys(re.findall(_UUID, expected)) if shown not in known]
        self._replaced |= {shown: found[f"id{number}"] for number, shown in enumerate(ids)}


class _Terminal:
    """A command on a terminal of its own, and what it has printed."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, _WIDTH, 0, 0))
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=its,
            stdout=its,
            stderr=its,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(its)
        self._ours = ours
        self._printed = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """What it has printed, without colors and lines that were erased."""
        return _CONTROL.sub(b"", _ERASED.sub(b"", self._printed)).decode(errors="replace")

    def wait(self) -> None:
        """Wait for its end, and for all of its output."""
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def end(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, and wait."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self.wait()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last process that had the terminal open has ended
            while part := os.read(self._ours, 65536):
                self._printed += part
        os.close(self._ours)


def _session(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a session with its output. A command goes on after a backslash."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n", "", part).partition("\n")
        yield command, output


def _plain(text: str) -> str:
    return "".join(" ".join(line.split()) + "\n" for line in text.strip().split("\n"))


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
