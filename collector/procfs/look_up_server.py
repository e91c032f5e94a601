"""The child process that performs look-ups that may block.

It reads one query per line from standard input and writes one response per line to standard output, both JSON, and ends
when its input does.
"""

import contextlib
import dataclasses
import json
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from collector.procfs.accounts import AccountFiles, AccountFilesAnswer, AccountFilesQuery, Insider
from collector.procfs.foreign_files import Signature, read_file
from collector.procfs.parse import text_of

MAX_MEMORY_FILE = 64 * 1024
"""Bytes read of a command line or an environment; longer ones would be cut off anyway."""

MAX_MEMORY = 256 << 20
"""Bytes of address space for decoding JSON."""
MAX_SECONDS = 2
"""Seconds of a processor for decoding JSON; 16 MiB of texts take less than half a second."""
MAX_ITEMS = 256
"""Limit of the members of an object and of the texts of a list. What facts are made of has far fewer."""
MAX_TEXT = 4096
"""Limit of the characters of a text, which no path exceeds."""
MAX_ANSWER = 1 << 20

READY = b"{}\n"
"""Written first, when queries can be processed."""


def read_memory(proc: Path, pid: int) -> tuple[bytes | None, bytes | None]:
    """Return the command line and the environment of a process, both as in procfs.

    They lie in the process's memory: anyone who holds its locks, for example by mapping a file of a FUSE server that
    doesn't respond, blocks the reader.
    """
    folder = f"{proc}/{pid}"
    return read_file(f"{folder}/cmdline", MAX_MEMORY_FILE), read_file(f"{folder}/environ", MAX_MEMORY_FILE)


def json_of(path: str) -> Any:
    """Return what a JSON text contains, without long texts and without the ends of long lists of texts.

    Raises:
        MemoryError: it needs more memory, or more is left of it, than the limits allow.
        OSError: it can't be read.
        ValueError: it is not JSON.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    # If the service has too little memory, this process is to end, not the collector.
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    found = pruned(json.loads(Path(path).read_bytes()))
    if len(json.dumps(found)) > MAX_ANSWER:
        raise MemoryError
    return found


def pruned(value: Any) -> Any:
    """Return a JSON value without long texts and without the ends of long lists of texts.

    Of an object with too many members, those stay that runtimes name, then the first in alphabetical order.
    """
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (not name.startswith("io.kubernetes."), name))
        return {name: pruned(value[name]) for name in names[:MAX_ITEMS] if len(name) <= MAX_TEXT}
    if isinstance(value, list):
        texts = [each for each in value if isinstance(each, str) and len(each) <= MAX_TEXT]
        return texts[:MAX_ITEMS] + [pruned(each) for each in value if not isinstance(each, str)]
    return None if isinstance(value, str) and len(value) > MAX_TEXT else value


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
                parts = read_memory(proc, request["memory"])
                answer = [None if part is None else text_of(part) for part in parts]
            elif "json" in request:
                answer = json_of(request["json"])
            else:
                answer = dataclasses.asdict(accounts.look(question_of(request)))
        except (OSError, ValueError, MemoryError, RecursionError):
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
        **{**answered, "insider": _insider(answered["insider"]), "signatures": _signatures(answered["signatures"])}
    )


def _insider(found: dict[str, Any] | None) -> Insider | None:
    return None if found is None else Insider(**found)


def _signatures(found: list[dict[str, Any] | None]) -> tuple[Signature | None, Signature | None]:
    first, second = (None if each is None else Signature(**each) for each in found)
    return first, second


def main(arguments: list[str]) -> None:
    """Serve standard input. arguments: where procfs is mounted, and the host's root directory."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # These signals are for the collector, which may still send queries while it shuts down.
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer, Path(arguments[0]), Path(arguments[1]))
