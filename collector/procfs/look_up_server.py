"""The child process that performs look-ups that may block.

It reads one query per line from standard input and writes one response per line to standard output, and ends when its
input does. A number is a query for a process's command line and environment by its id; of each, the response is `=` and
hexadecimal digits, or `-` if it is unknown. All else is JSON. It imports little, since every host has it in memory: the
rest when a query first needs it, or what those about accounts need at an empty line, which has no response.
"""

# `signal` imports 1 MiB more, for names of the numbers.
import _signal  # type: ignore[import-not-found]
import sys

from collector.procfs.reading import read_memory

TYPE_CHECKING = False  # the name that type checkers know; importing `typing` takes 1 MB
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, BinaryIO

MAX_MEMORY = 256 << 20
"""Bytes of address space for decoding JSON."""
MAX_PACKAGES_MEMORY = 768 << 20
"""The same for reading databases of packages, of which that of rpm is read whole."""
MAX_SECONDS = 2
"""Seconds of a processor for decoding JSON; 16 MiB of texts take less than half a second."""
MAX_ITEMS = 256
"""Limit of the members of an object and of the texts of a list. What facts are made of has far fewer."""
MAX_TEXT = 4096
"""Limit of the characters of a text, which no path exceeds."""
MAX_ANSWER = 1 << 20

_OF_PACKAGES = ("program", "packages", "code", "loaded", "listening")
"""Kinds of queries that need much memory."""

READY = b"{}\n"
"""Written first, when queries can be processed."""


def json_of(path: str) -> "Any":
    """Return what a JSON text contains, without long texts and without the ends of long lists of texts.

    Raises:
        MemoryError: it needs more memory, or more is left of it, than the limits allow.
        OSError: it can't be read.
        ValueError: it is not JSON.
    """
    import json  # noqa: PLC0415
    import resource  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    limit_memory(MAX_MEMORY)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    found = pruned(json.loads(Path(path).read_bytes()))
    if len(json.dumps(found)) > MAX_ANSWER:
        raise MemoryError
    return found


def limit_memory(limit: int) -> None:
    """Limit the address space, in bytes. If the service has too little, this process is to end, not the collector."""
    import resource  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def pruned(value: "Any") -> "Any":
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


def _responder(kind: str) -> "Callable[[str, str], Callable[[Any], Any]]":
    """Return what makes the function that responds to queries of a kind; if it is empty, to those about accounts.

    What a kind needs is imported here, by name, so that the tarball has it.
    """
    if kind not in _OF_PACKAGES:
        from collector.procfs import accounts  # noqa: PLC0415 - 3 MB

        return accounts.responder
    limit_memory(MAX_PACKAGES_MEMORY)
    if kind == "program":
        from collector.procfs import program_files  # noqa: PLC0415

        return program_files.responder
    if kind == "packages":
        from collector.procfs import installed_packages  # noqa: PLC0415

        return installed_packages.responder
    if kind == "code":
        from collector.procfs import installed_packages  # noqa: PLC0415

        return installed_packages.mapped_responder
    from collector.procfs import loaded_files  # noqa: PLC0415

    return loaded_files.responder if kind == "loaded" else loaded_files.listening_responder


def serve(questions: "Iterable[bytes]", answers: "BinaryIO", proc: str, host_root: str) -> None:
    """Respond to each query; the response to one that fails is null."""
    responders: dict[str, Callable[[Any], Any]] = {}
    answers.write(READY)
    answers.flush()
    for line in questions:
        if line.strip().isdigit():
            parts = read_memory(proc, int(line))
            answer = " ".join("-" if part is None else f"={part.hex()}" for part in parts)
        elif not line.strip():
            import json  # noqa: F401, PLC0415 - for the first answer

            if "" not in responders:
                responders[""] = _responder("")(proc, host_root)
            continue
        else:
            answer = _json_answer(line, responders, proc, host_root)
        answers.write(answer.encode() + b"\n")
        answers.flush()


def _json_answer(line: bytes, responders: "dict[str, Callable[[Any], Any]]", proc: str, host_root: str) -> str:
    import json  # noqa: PLC0415 - 1 MB

    request = json.loads(line)
    answer: Any = None
    try:
        if "json" in request:
            answer = json_of(request["json"])
        else:
            kind = next((each for each in _OF_PACKAGES if each in request), "")
            if kind not in responders:
                responders[kind] = _responder(kind)(proc, host_root)
            answer = responders[kind](request[kind] if kind else request)
    except (OSError, ValueError, MemoryError, RecursionError):
        pass
    return json.dumps(answer)


def main(arguments: list[str]) -> None:
    """Serve standard input. arguments: where procfs is mounted, and the host's root directory."""
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        # These signals are for the collector, which may still send queries while it shuts down.
        _signal.signal(number, _signal.SIG_IGN)
    try:  # noqa: SIM105 - `contextlib` imports more, too
        serve(sys.stdin.buffer, sys.stdout.buffer, *arguments)
    except BrokenPipeError:
        pass
