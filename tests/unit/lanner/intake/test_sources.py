import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.intake.documents import RawEvent
from lanner.intake.log_file import LogFollower, PlaceFile
from lanner.intake.sources import event_groups, follow_file
from tests.unit.lanner.intake.broker import FakeBroker
from tests.unit.processor.detection.requests import line, request


def _follow(path: Path, broker: FakeBroker, until: Callable[[], bool], at: Callable[[str], None]) -> None:
    async def run() -> None:
        follower = LogFollower(path, PlaceFile(path.parent / "state", path), ignore_note)
        async with broker.open() as delivery:
            task = asyncio.create_task(follow_file(follower, delivery, ignore_note, at))
            for _ in range(1000):
                if until() or task.done():
                    break
                await asyncio.sleep(0.01)
            if task.done():
                task.result()
            task.cancel()

    asyncio.run(run())


def test_documents_that_cannot_be_read_are_passed_on() -> None:
    """Where events are evaluated, they become dead letters."""
    assert next(event_groups([b"nonsense", line([request(auditID="a")])])) == [
        RawEvent(None, b"nonsense"),
        RawEvent(b"a", line(request(auditID="a")).strip()),
    ]


def test_the_place_is_stored_after_the_events(tmp_path: Path) -> None:
    """A crash between the two repeats events, and loses none."""
    log, broker = tmp_path / "audit.log", FakeBroker()
    log.write_bytes(line(request(auditID="a")) + line(request(auditID="b")))

    def crash(point: str) -> None:
        if point == "stored":
            raise KeyError(point)

    with pytest.raises(KeyError):
        _follow(log, broker, lambda: False, crash)
    assert broker.events == ["a", "b"]
    points: list[str] = []
    _follow(log, broker, lambda: points == ["stored", "committed"], points.append)
    assert broker.events == ["a", "b"] * 2
    with log.open("ab") as file:
        file.write(line(request(auditID="c")))
    _follow(log, broker, lambda: len(broker.events) > 4, points.append)

    assert broker.events[4:] == ["c"]
