"""Compares what alerts name with what is known of a test: its own text, and the program that runs it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from lanner.prove.atomics import AtomicTest
from lanner.prove.grades import RaisedAlert

_WORD = re.compile(r"[\w.+@-]+")
_SHELLS = frozenset({"sh", "bash", "dash"})
_STARTERS = frozenset({"nsenter", "systemd", "cron", "atd", "sudo"})
"""They start what a test runs, or what it left for later."""
_COMM_LENGTH = 15
_MAX_FILE_BYTES = 1 << 20


def own_words(test: AtomicTest, atomics: Path) -> frozenset[str]:
    """Return the words in a test's commands, and in the files beside it that these name."""
    parts = [test.command, test.executor, *test.arguments.values()]
    parts += [text for each in test.prerequisites for text in (each.check, each.get)]
    text = "\n".join(parts)
    for path in sorted((atomics / test.technique).glob("src/**/*")):
        if path.name in text and path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES:
            text += "\n" + path.read_text(errors="replace")
    return frozenset(_WORD.findall(text))


def unexplained(words: Iterable[str], alerts: Iterable[RaisedAlert]) -> Iterator[str]:
    """Yield what alerts name that neither a test's text nor its runner explains, such as `Write job: file /etc/x`."""
    known = {*words, *_SHELLS}
    programs = {word[:_COMM_LENGTH] for word in known}
    for alert in alerts:
        path = PurePosixPath(alert.file)
        checks = (
            ("process", alert.process, alert.process in programs | _STARTERS),
            ("parent", alert.parent, alert.parent in programs | _STARTERS),
            # A test names a file, or a folder in which a program looks for it.
            ("file", alert.file, not known.isdisjoint((path.name, *path.parts[1:]))),
        )
        yield from (f"{alert.rule}: {what} {name}" for what, name, explained in checks if name and not explained)
