"""Reads a capture as event batches, as the collector of the captured host would have sent them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from lanner.captures.assembler import CaptureAssembler
from lanner.captures.blocks import GZIP_BYTES, SECTION_BYTES, BadCapture, Block, CaptureStream, blocks
from lanner.captures.events import EVENT_BLOCKS, EventJoiner, read_event
from lanner.captures.lists import (
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
from schemas.batch import EventBatch
from schemas.text.counts import count_of

_WANTED = MACHINE | PROCESSES | DESCRIPTORS | USERS | INTERFACES | EVENT_BLOCKS
_MAX_NAMES = 5


@dataclass(slots=True)
class CaptureCounts:
    """What of a capture was not evaluated."""

    unknown_blocks: int = 0
    unknown_events: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Events that are known but can't be completed, by name."""
    threads: int = 0
    """Threads that are not followed because there are too many."""

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
        return found


def is_capture(beginning: bytes) -> bool:
    """Return whether a file may be a capture. beginning: its first bytes, as many as a pipe has."""
    return bool(beginning) and any(kind.startswith(beginning[: len(kind)]) for kind in (SECTION_BYTES, GZIP_BYTES))


class CaptureReader:
    """Reads one capture.

    Args:
        file: the file, which may be a pipe.
        name: what errors call it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.counts = CaptureCounts()
        self.name = name
        self._stream = CaptureStream(file, name)
        self._joiner = EventJoiner()
        self._assembler = CaptureAssembler()

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""
        return self._stream.consumed

    def batches(self) -> Iterator[EventBatch]:
        """Yield batches of events in order.

        Raises:
            BadCapture: the file is no capture, or it is damaged; what comes before the damage is yielded first.
        """
        assembler = self._assembler
        try:
            for block in blocks(self._stream, _WANTED):
                if block.type in EVENT_BLOCKS:
                    yield from self._event(block)
                elif not self._list(block):
                    self.counts.unknown_blocks += 1
        except BadCapture:
            if assembler.count:
                yield assembler.finish()
            raise
        finally:
            self.counts.skipped = self._joiner.skipped
            self.counts.threads = assembler.threads.dropped
        if assembler.count:
            yield assembler.finish()

    def _event(self, block: Block) -> Iterator[EventBatch]:
        event = read_event(self.name, block)
        if event is None:
            self.counts.unknown_events += 1
            return
        joined = self._joiner.join(event)
        if joined is not None:
            yield from self._assembler.take(joined)

    def _list(self, block: Block) -> bool:
        """Take over a list; return False if the block is none."""
        assembler = self._assembler
        if block.type in MACHINE:
            assembler.set_machine(read_machine(self.name, block))
        elif block.type in PROCESSES:
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
