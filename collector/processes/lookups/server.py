"""The process that looks where looking may never end, so that it alone waits.

One question a line on standard input, one answer a line on standard output, both JSON; it ends when its input does.
"""

import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from collector.processes.procfs.parse import text_of
from collector.processes.users.account_files import AccountFiles, Answer, Insider, Question
from collector.processes.users.container_root import Signature

MAX_MEMORY_FILE = 64 * 1024
"""Bytes read of a command line or an environment; more of either is cut off anyway."""

READY = b"{}\n"
"""Written first, when questions can be answered."""


def read_memory(proc: Path, pid: int, *, environment: bool) -> tuple[bytes | None, bytes | None]:
    """Return the command line and, where it is wanted, the environment of a process, both as in procfs.

    They lie in its memory: whoever holds that process's locks, for instance by mapping a file of a FUSE server that
    doesn't answer, keeps the reader waiting.
    """
    folder = f"{proc}/{pid}"
    return _read(f"{folder}/cmdline"), _read(f"{folder}/environ") if environment else None


def serve(questions: Iterable[bytes], answers: BinaryIO, proc: Path, host_root: Path) -> None:
    """Answer each question; one that can't be answered is answered by null."""
    accounts = AccountFiles(proc, host_root)
    answers.write(READY)
    answers.flush()
    for line in questions:
        asked = json.loads(line)
        answer: Any = None
        try:
            if "memory" in asked:
                parts = read_memory(proc, asked["memory"], environment=asked["environment"])
                answer = [None if part is None else text_of(part) for part in parts]
            else:
                answer = dataclasses.asdict(accounts.look(question_of(asked)))
        except (OSError, ValueError):
            pass
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def question_of(asked: dict[str, Any]) -> Question:
    """Read a question about accounts as JSON has it."""
    return Question(tuple(asked["pids"]), asked["cgroup"], _insider(asked["insider"]), _signatures(asked["signatures"]))


def answer_of(answered: dict[str, Any]) -> Answer:
    """Read an answer about accounts as JSON has it."""
    return Answer(
        **{
            **answered,
            "insider": _insider(answered["insider"]),
            "signatures": _signatures(answered["signatures"]),
        }
    )


def _insider(found: dict[str, Any] | None) -> Insider | None:
    return None if found is None else Insider(**found)


def _signatures(found: list[dict[str, Any] | None]) -> tuple[Signature | None, Signature | None]:
    first, second = (None if each is None else Signature(**each) for each in found)
    return first, second


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts, left = [], MAX_MEMORY_FILE
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> None:
    """Serve standard input.

    Args:
        arguments: where procfs is mounted, and the host's root directory.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Those are for the collector, which may still have questions while it ends.
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer, Path(arguments[0]), Path(arguments[1]))
