"""Bounds what the state of a captured host takes: bytes of texts, open descriptors, and steps for each event.

The writer of a capture controls all of it; a megabyte of gzip may become a gigabyte. Where texts are too many, ended
ancestors go first, then the longest texts are cut.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from collector.processes.process import TrackedProcess
from foundation.text import count_of
from lanner.captures.state.descriptors import OpenDescriptor
from schemas.limits import clipped

MAX_TEXT_BYTES = 64 << 20
"""Memory for the long texts of all threads, their ancestors and their descriptors."""
MAX_OPEN = 1_000_000
"""Descriptors of all processes."""
_MAX_ENDED, _ENDED_PER_LOOK = 64, 64
"""Ended ancestors in a row that are retained, and those that come before it is looked again whether there are more."""
_ENTRY_BYTES = 2048
"""The bytes of an ended ancestor in addition to its texts."""
_SHORT = 128
"""Bytes of a text that always fit, since the number of threads and descriptors is limited."""
_LENGTHS = (4096, 2048, 1024, 512, 256, _SHORT)
_REFUSED = 4096
"""Descriptors to refuse before all are counted again."""
_STEPS, _MOST_STEPS = 256, 4_000_000
"""Steps that an event earns, and those that are saved at most."""

Held = Iterator[tuple[TrackedProcess, dict[int, OpenDescriptor]]]
Texts = tuple[str, ...]


class StateLimits:
    """The part of each limit that is left. held: yields the living processes with their descriptors."""

    def __init__(self, held: Callable[[], Held]) -> None:
        self.cut = 0
        """Texts that were cut, because all together were too long."""
        self.refused = 0
        """Descriptors that are not followed, because there were too many."""
        self.steps = _MOST_STEPS
        self._held = held
        self._bytes = MAX_TEXT_BYTES
        self._open = MAX_OPEN
        self._to_refuse = 0
        self._ended = 0

    def lines(self) -> list[str]:
        """Return sentences for people."""
        found = []
        if self.cut:
            many, most = count_of(self.cut, "text"), MAX_TEXT_BYTES >> 20
            found.append(f"shortened {many} of processes and files: together they exceed {most} MiB")
        if self.refused:
            found.append(f"did not follow {count_of(self.refused, 'descriptor')}: too many at once")
        return found

    def earn(self, events: int) -> None:
        """Count events."""
        self.steps = min(self.steps + _STEPS * events, _MOST_STEPS)

    def afford(self, steps: int) -> bool:
        """Return whether the events so far allow so many further steps."""
        self.steps -= steps
        if self.steps < 0:
            self.steps += steps
            return False
        return True

    def may_open(self, count: int = 1) -> bool:
        """Return whether there is room for further descriptors; if not, they count as refused."""
        if not self._to_refuse:
            self._open -= count
            if self._open >= 0:
                return True
            self._open = MAX_OPEN - sum(len(table) for _, table in self._held()) - count
            if self._open >= _REFUSED:
                return True
            self._to_refuse = _REFUSED
        self._to_refuse = max(0, self._to_refuse - count)
        self.refused += count
        return False

    def spend(self, *texts: str | Texts | None, more: int = 0) -> None:
        """Take over texts that are stored from now on. more: bytes of other objects."""
        self._bytes -= more
        for text in texts:
            # Most texts are short, and their number is limited.
            if text and (isinstance(text, tuple) or len(text) > _SHORT // 2) and (size := _size(text)) > _SHORT:
                self._bytes -= size
        if self._bytes < 0:
            self._fit()

    def end_ancestor(self) -> None:
        """Count a process that has ended, and is retained as an ancestor."""
        self._ended += 1
        if self._ended > _ENDED_PER_LOOK:
            living = sum(1 for _ in self._held())
            self._ended = -living // _ENDED_PER_LOOK
            _forget_ended(self._held, _MAX_ENDED)
        self.spend(more=_ENTRY_BYTES)

    def _fit(self) -> None:
        """Measure the stored texts, and shorten them if little room is left."""
        ended = sum(1 for _ in _entries(self._held)) - sum(1 for _ in self._held())
        if ended * _ENTRY_BYTES > MAX_TEXT_BYTES:
            _forget_ended(self._held, 1)
        numbers: Counter[int] = Counter()
        sizes: Counter[int] = Counter()
        """Number and bytes of texts, by the power of two above their bytes."""
        for size in self._distinct():
            numbers[size.bit_length()] += 1
            sizes[size.bit_length()] += size

        def total(most: int) -> int:
            return sum(min(sizes[bits], number * most) for bits, number in numbers.items())

        held = sizes.total()
        if held > MAX_TEXT_BYTES // 4 * 3:
            most = next((most for most in _LENGTHS if total(most) <= MAX_TEXT_BYTES // 2), _SHORT)
            self._cut_to(most)
            held = total(most)
        self._bytes = max(MAX_TEXT_BYTES - held, MAX_TEXT_BYTES // 4)

    def _distinct(self) -> Iterator[int]:
        """Yield the sizes of all long texts; those that children share with their parents once."""
        seen: set[int] = set()
        for text in chain(
            chain.from_iterable(map(_texts_of, _entries(self._held))),
            (text for _, table in self._held() for each in table.values() for text in (each.name, each.raw_name)),
        ):
            size = _size(text)
            if size > _SHORT and id(text) not in seen:
                seen.add(id(text))
                yield size

    def _cut_to(self, most: int) -> None:
        """Cut all longer texts. most: bytes."""
        made: dict[int, tuple[Any, Any]] = {}

        def cut(text: Any) -> Any:
            if _size(text) <= most:
                return text
            if id(text) not in made:
                # The text is stored beside its rest, so that its id is not reused.
                whole = " ".join(text) if isinstance(text, tuple) else text
                short = clipped(whole, most)
                made[id(text)] = (text, (short,) if isinstance(text, tuple) else short)
            return made[id(text)][1]

        for entry in _entries(self._held):
            former = _texts_of(entry)
            name, exe, exepath, codepath, args, env, cwd, cgroup, entry.comm = map(cut, former)
            if former != (name, exe, exepath, codepath, args, env, cwd, cgroup, entry.comm):
                program, context = entry.program, entry.context
                entry.program = replace(
                    program,
                    name=name,
                    exe=exe,
                    exepath=exepath,
                    codepath=codepath,
                    args=args,
                    env=env,
                    is_args_truncated=program.is_args_truncated or args != program.args,
                    is_env_truncated=program.is_env_truncated or env != program.env,
                )
                entry.context = replace(context, cwd=cwd, cgroup=cgroup)
                entry.changed()
        for _, table in self._held():
            for each in table.values():
                each.name, each.raw_name = cut(each.name), cut(each.raw_name)
        self.cut += len(made)


def _texts_of(entry: TrackedProcess) -> tuple[str | Texts | None, ...]:
    program, context = entry.program, entry.context
    own = (program.name, program.exe, program.exepath, program.codepath, program.args, program.env)
    return (*own, context.cwd, context.cgroup, entry.comm)


def _entries(held: Callable[[], Held]) -> Iterator[TrackedProcess]:
    """Yield each living process and each ancestor once."""
    seen: set[int] = set()
    for entry, _ in held():
        each: TrackedProcess | None = entry
        while each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            each = each.parent


def _forget_ended(held: Callable[[], Held], most: int) -> None:
    """Cut lineages where more ended processes than that follow each other."""
    living = {id(entry) for entry, _ in held()}
    for entry, _ in held():
        above, ended = entry.parent, 0
        while above is not None and id(above) not in living:
            ended += 1
            if ended == most:
                above.parent = None
            above = above.parent


def _size(text: str | Texts | None) -> int:
    if isinstance(text, tuple):
        return sys.getsizeof(text) + sum(map(sys.getsizeof, text))
    return 0 if text is None else sys.getsizeof(text)
