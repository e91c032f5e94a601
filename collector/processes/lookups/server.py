"""The child process that performs look-ups that may block.

It reads one query per line from standard input and writes one response per line to standard output, both JSON, and ends
when its input does.
"""

import contextlib
import dataclasses
import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from collector.processes.procfs.bounded_read import read_file
from collector.processes.procfs.files_below import Signature
from collector.processes.procfs.parse import text_of
from collector.processes.users.account_files import AccountFiles, AccountFilesAnswer, AccountFilesQuery, Insider

MAX_MEMORY_FILE = 64 * 1024
"""Bytes read of a command line or an environment; longer ones would be cut off anyway."""

READY = b"{}\n"
"""Written first, when queries can be processed."""


def read_memory(proc: Path, pid: int, *, environment: bool) -> tuple[bytes | None, bytes | None]:
    """Return the command line and, if requested, the environment of a process, both as in procfs.

    They lie in the process's memory: anyone who holds its locks, for example by mapping a file of a FUSE server that
    doesn't respond, blocks the reader.
    """
    folder = f"{proc}/{pid}"
    return read_file(f"{folder}/cmdline", MAX_MEMORY_FILE), read_file(
        f"{folder}/environ", MAX_MEMORY_FILE
    ) if environment else None


def serve(questions: Iterable[bytes], answers: BinaryIO, proc: Path, host_root: Path) -> None:
    """Respond to each query; the response to one that fails is null."""
    accounts = AccountFiles(proc, host_root)
    answers.write(READY)
    answers.flush()
    for line in questions:
        request = json.loads(line)
        answer: Any = None
        try:
            if "memory" in request:
                parts = read_memory(proc, request["memory"], environment=request["environment"])
                answer = [None if part is None else text_of(part) for part in parts]
            else:
                answer = dataclasses.asdict(accounts.look(question_of(request)))
        except (OSError, ValueError):
            pass
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def question_of(request: dict[str, Any]) -> AccountFilesQuery:
    """Convert a query about accounts from JSON."""
    return AccountFilesQuery(
        tuple(request["pids"]), request["cgroup"], _insider(request["insider"]), _signatures(request["signatures"])
    )


def answer_of(answered: dict[str, Any]) -> AccountFilesAnswer:
    """Convert a response about accounts from JSON."""
    return AccountFilesAnswer(
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


def main(arguments: list[str]) -> None:
    """Serve standard input.

    Args:
        arguments: where procfs is mounted, and the host's root directory.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # These signals are for the collector, which may still send queries while it shuts down.
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer, Path(arguments[0]), Path(arguments[1]))
