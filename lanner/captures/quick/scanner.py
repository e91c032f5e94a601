"""Goes through the events of a capture: those that change little at once, the others one by one."""

import struct
from collections import Counter
from collections.abc import Iterator

from lanner.captures.assembler import CaptureAssembler
from lanner.captures.blocks import Block, CaptureStream
from lanner.captures.events import COUNTED, EVENT_BLOCKS, EventJoiner, read_event
from lanner.captures.quick.handlers import ENTRY, EXIT, NOTICE
from schemas.batch import EventBatch

_HEAD = struct.Struct("<II10xqIHI")
"""The beginning of an event with a count of parameters: type and length of its block, thread, length, number, count."""
_LEAST, _LENGTH_AT, _EVENT_AT, _BODY_AT = 40, 4, 10, 8


class EventScanner:
    """Reads events.

    Args:
        stream: the capture.
        assembler: receives the events.
    """

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
