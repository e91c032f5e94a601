"""Reads a capture as event batches, as the collector of the captured host would have sent them."""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from foundation.interpreter import no_collections
from foundation.text import count_of
from lanner.captures.assembler import CaptureAssembler
from lanner.captures.format.blocks import (
    GZIP_BYTES,
    MAX_EVENT,
    MAX_LIST,
    SECTION_BYTES,
    BadCapture,
    Block,
    CaptureStream,
    blocks,
)
from lanner.captures.format.events import COUNTED, EVENT_BLOCKS, EventJoiner, read_event
from lanner.captures.format.lists import (
    DESCRIPTORS,
    INTERFACES,
    MACHINE,
    PROCESSES,
    USERS,
    read_descriptors,
    read_interfaces,
    read_machine,
    read_processes,
    read_users,
)
from lanner.captures.quick import ENTRY, EXIT, NOTICE
from processor.compiler.batch import Excludes
from schemas.batch import EventBatch

_HEAD = struct.Struct("<II10xqIHI")
"""The beginning of an event with a count of parameters: type and length of its block, thread, length, number, count."""
_LEAST, _LENGTH_AT, _EVENT_AT, _BODY_AT = 40, 4, 10, 8


class EventScanner:
    """Reads the events of a capture, and passes them to an assembler."""

    def __init__(self, stream: CaptureStream, assembler: CaptureAssembler) -> None:
        self.unknown = 0
        """Events of types that the event table doesn't have."""
        self._stream = stream
        self._assembler = assembler
        self._joiner = EventJoiner()

    @property
    def skipped(self) -> Counter[str]:
        """Events that could not be completed, by name."""
        return self._joiner.skipped

    def scan(self) -> Iterator[EventBatch]:
        """Read the events that are complete in memory, up to the next block of another kind; yield full batches."""
        assembler, joiner = self._assembler, self._joiner
        head, find, quick = _HEAD.unpack_from, assembler.threads.find, assembler.quick
        data, start = self._stream.window()
        at, limit = start, len(data)
        passed = 0
        while at + _LEAST <= limit:
            kind, length, tid, size, number, count = head(data, at)
            stop = at + length
            if kind not in EVENT_BLOCKS or length < _LEAST or stop > limit:
                break
            if data[stop - 4 : stop] != data[at + _LENGTH_AT : at + _BODY_AT]:
                break
            known = quick.get((number, count)) if kind in COUNTED else None
            if known is not None:
                thread = find(tid)
                if isinstance(known, int):
                    if thread is not None or known == ENTRY:
                        if joiner.has_entries and known != NOTICE:
                            joiner.forget(tid, is_exit=known == EXIT)
                        passed += known != ENTRY
                        at = stop
                        continue
                elif thread is not None and not (joiner.has_entries and joiner.has_entry(tid)):
                    end = at + _EVENT_AT + size
                    if end <= stop - 4 and known(thread, data, at + 36, end):
                        passed += 1
                        at = stop
                        continue
            assembler.pass_over(passed)
            passed = 0
            self.read(Block(kind, self._stream.at + at + _BODY_AT - start, data[at + _BODY_AT : stop - 4]))
            at, quick = stop, assembler.quick
            if assembler.is_full:
                yield assembler.finish()
        assembler.pass_over(passed)
        self._stream.consume(at - start)
        if assembler.is_full:
            yield assembler.finish()

    def read(self, block: Block) -> None:
        """Read the event of a block. Raises BadCapture."""
        event = read_event(self._stream.name, block)
        if event is None:
            self.unknown += 1
            return
        joined = self._joiner.join(event)
        if joined is not None:
            self._assembler.take(joined)


_WANTED = {
    **dict.fromkeys(MACHINE | PROCESSES | DESCRIPTORS | USERS | INTERFACES, MAX_LIST),
    **dict.fromkeys(EVENT_BLOCKS, MAX_EVENT),
}
"""By type of block, the bytes that it may have."""
_MAX_NAMES = 5


@dataclass(slots=True)
class CaptureCounts:
    """Counts of the parts of a capture that were not evaluated."""

    unknown_blocks: int = 0
    unknown_events: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Events that are known but can't be completed, by name."""
    threads: int = 0
    """Threads that are not followed because there are too many."""
    of_state: list[str] = field(default_factory=list)
    """The other parts of the host's state that were left out, in sentences."""

    def lines(self) -> list[str]:
        """Return sentences for people."""
        found = []
        if self.unknown_blocks:
            found.append(f"skipped {count_of(self.unknown_blocks, 'block')} of unknown type")
        if self.unknown_events:
            found.append(f"skipped {count_of(self.unknown_events, 'event')} of types that this release doesn't know")
        if self.skipped:
            names = ", ".join(name for name, _ in self.skipped.most_common(_MAX_NAMES))
            found.append(f"skipped {count_of(self.skipped.total(), 'event')} with unexpected parameters: {names}")
        if self.threads:
            found.append(f"did not follow {count_of(self.threads, 'thread')}: too many at once")
        return found + self.of_state


def is_capture(beginning: bytes) -> bool:
    """Return whether a file may be a capture. beginning: its first bytes, as many as a pipe has."""
    return bool(beginning) and any(kind.startswith(beginning[: len(kind)]) for kind in (SECTION_BYTES, GZIP_BYTES))


class CaptureReader:
    """Reads one capture, which may be a pipe. name: what errors call it.

    exclusions: by event type that matters to a rule, what excludes events from the batches; None for all events.
    """

    def __init__(self, file: BinaryIO, name: str, exclusions: Mapping[str, Excludes] | None = None) -> None:
        self.counts = CaptureCounts()
        self.name = name
        self._stream = CaptureStream(file, name)
        self._assembler = CaptureAssembler(exclusions)
        self._scanner = EventScanner(self._stream, self._assembler)

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""
        return self._stream.consumed

    @property
    def excluded(self) -> int:
        """Events that no rule can match; they are in no batch."""
        return self._assembler.excluded

    def batches(self) -> Iterator[EventBatch]:
        """Yield batches of events in order.

        Raises BadCapture if the file is no capture, or damaged; what comes before the damage is yielded first.
        """
        assembler = self._assembler
        try:
            for block in blocks(self._stream, _WANTED):
                if block.type in EVENT_BLOCKS:
                    self._scanner.read(block)
                elif not self._list(block):
                    self.counts.unknown_blocks += 1
                yield from self._scanner.scan()
        except BadCapture:
            if not assembler.is_empty:
                yield assembler.finish()
            raise
        finally:
            self.counts.unknown_events = self._scanner.unknown
            self.counts.skipped = self._scanner.skipped
            self.counts.threads = assembler.threads.dropped
            self.counts.of_state = assembler.lines()
        if not assembler.is_empty:
            yield assembler.finish()

    def _list(self, block: Block) -> bool:
        """Take over a list; return False if the block is none."""
        assembler = self._assembler
        if block.type in MACHINE:
            assembler.set_machine(read_machine(self.name, block))
        elif block.type in PROCESSES:
            with no_collections():
                for thread in read_processes(self.name, block):
                    assembler.threads.list_thread(thread)
                assembler.threads.link_all()
        elif block.type in DESCRIPTORS:
            for descriptor in read_descriptors(self.name, block):
                assembler.list_descriptor(descriptor)
        elif block.type in INTERFACES:
            for interface in read_interfaces(self.name, block):
                assembler.interfaces.add(interface)
        elif block.type in USERS:
            for account in read_users(self.name, block):
                assembler.accounts.add(account)
        else:
            return False
        return True
