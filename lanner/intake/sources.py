"""The sources of audit events that run on a loop: a file that is followed, and a topic."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from lanner.intake.body import MAX_BODY_BYTES, unpacked
from lanner.intake.delivery import AuditDelivery
from lanner.intake.documents import BadDocument, RawEvent, split
from lanner.intake.file.follower import LogFollower
from lanner.intake.topic import AuditTopicReader
from schemas.text.notes import OnNote

_IDLE_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_POLL_SECONDS = 0.2


def event_groups(documents: Iterable[bytes]) -> Iterator[list[RawEvent]]:
    """Yield the events of documents, of not many megabytes at a time.

    A document that can't be read is passed on: it becomes a dead letter.
    """
    found: list[RawEvent] = []
    size = 0
    for document in documents:
        try:
            found += split(document)
        except BadDocument:
            found.append(RawEvent(None, document))
        size += len(document)
        if size > MAX_BODY_BYTES:
            yield found
            found, size = [], 0
    yield found


async def _store(documents: Iterable[bytes], delivery: AuditDelivery) -> None:
    groups = event_groups(documents)
    while (events := await asyncio.to_thread(next, groups, None)) is not None:
        await delivery.store(events)


async def follow_file(
    follower: LogFollower, delivery: AuditDelivery, on_note: OnNote, at: Callable[[str], None] = lambda _: None
) -> None:
    """Store the events of a file until canceled.

    Args:
        follower: reads the file.
        delivery: stores events.
        on_note: receives messages for an operator.
        at: called with the name of each point between two steps; tests kill the process there.

    Raises:
        BusUnavailable: the broker can't be used, and waiting does not help.
    """
    reported = ""
    try:
        while True:
            try:
                lines = await asyncio.to_thread(follower.next)
                if lines is not None:
                    await _store(lines.lines, delivery)
                    at("stored")
                    await asyncio.to_thread(follower.commit, lines)
                    at("committed")
            except OSError as error:
                problem = f"{error.filename or 'audit log'}: {error.strerror or error}"
                if problem != reported:
                    on_note(f"{problem}. It is tried again.", "warning")
                reported = problem
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            reported = ""
            if lines is None:
                await asyncio.sleep(_IDLE_SECONDS)
    finally:
        follower.close()


async def read_topic(
    reader: AuditTopicReader, delivery: AuditDelivery, at: Callable[[str], None] = lambda _: None
) -> None:
    """Store the events of a topic until canceled; arguments and errors as for a file."""
    try:
        while True:
            if messages := await asyncio.to_thread(reader.next, _POLL_SECONDS):
                await _store((unpacked(message.value() or b"") for message in messages), delivery)
                at("stored")
                await asyncio.to_thread(reader.commit, messages)
                at("committed")
    finally:
        await asyncio.shield(asyncio.to_thread(reader.close))
