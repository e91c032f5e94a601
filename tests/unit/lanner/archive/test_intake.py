"""From messages to files, and back."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from foundation.text import ignore_note
from lanner.archive.files import HOUR_MS, open_folder, positions
from lanner.archive.intake import Intake, Kind, Overtaken
from lanner.archive.store import ArchiveStore
from lanner.recorder.store import EventRange
from schemas.alert import encode_alert
from schemas.encoding.batch import encode_batch
from tests.unit.lanner.recorder.test_event_stores import EventStoreTests, Filled, stored_now

NOON = 1_764_504_000_000 // HOUR_MS * HOUR_MS


@dataclass(frozen=True)
class Received:
    """A message as the client of the broker gives it."""

    text: bytes
    stamp: int
    at: int = 0
    of: int = 0

    def partition(self) -> int:
        """Return it."""
        return self.of

    def offset(self) -> int:
        """Return it."""
        return self.at

    def timestamp(self) -> tuple[int, int]:
        """Return it."""
        return 2, self.stamp

    def headers(self) -> None:
        """Return it."""
        return

    def key(self) -> bytes:
        """Return it."""
        return b"near"

    def value(self) -> bytes:
        """Return it."""
        return self.text


def value_of(message: Any) -> bytes:
    """Return the value, which the present release wrote."""
    found: bytes = message.value()
    return found


def intake(path: Path, notes: list[str] | None = None, **settings: Any) -> Intake:
    """Return an empty intake."""
    note = ignore_note if notes is None else lambda text, _="": notes.append(text)
    return Intake(open_folder(str(path)), value_of, note, **{"limit_bytes": 1 << 20, "flush_seconds": 60.0} | settings)


def messages(number: int, began: int = NOON) -> Sequence[Received]:
    """Return messages of batches of one host."""
    batch = stored_now().batches[0]
    return [Received(encode_batch(replace(batch, sequence=at)), began + at, at) for at in range(number)]


def sequences(path: Path) -> list[int]:
    """Return the sequence of each batch of an archive, in order."""
    store = ArchiveStore(open_folder(str(path)), ignore_note)
    return [each.batch.sequence for each in store.batches(EventRange(0), lambda: False)]


class TestStore(EventStoreTests):
    @pytest.fixture
    def filled(self, tmp_path: Path) -> Filled:
        """Return a store that an intake filled; the damaged messages are noted there."""
        stored, numbers = stored_now(), count()
        notes: list[str] = []
        taking = intake(tmp_path, notes)
        encoded: dict[Kind, list[bytes]] = {
            "events": [encode_batch(each) for each in stored.batches],
            "alerts": [encode_alert(each) for each in stored.alerts],
        }
        for kind, values in encoded.items():
            for at, value in enumerate(values):
                damaged = value[:-40] if at == 1 else value
                taking.take(kind, Received(damaged, stored.began // 1_000_000 + at, next(numbers)), 0.0)
        list(taking.store_all())
        assert len(notes) == 2
        return Filled(ArchiveStore(open_folder(str(tmp_path)), ignore_note), stored, notes[:1])


def test_a_process_that_is_killed_at_any_write_loses_nothing_and_stores_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts again where the files end, which may be between those of events and of batches."""
    link = os.link
    every = messages(4)
    for kill_at in range(1, 5):
        folder = tmp_path / str(kill_at)
        links = count(1)

        def killed(source: str, target: str, *, links: Iterator[int] = links, kill_at: int = kill_at) -> None:
            if next(links) == kill_at:
                raise KeyboardInterrupt
            link(source, target)

        monkeypatch.setattr(os, "link", killed)
        for _ in range(2):
            start = positions(open_folder(str(folder)), "batches", [0]).get(0, 0)
            taking = intake(folder)
            try:
                for number, message in enumerate(every[start:]):
                    taking.take("events", message, 0.0)
                    if number % 2:
                        list(taking.store_all())
                list(taking.store_all())
            except KeyboardInterrupt:
                continue
        assert sequences(folder) == [*range(4)]
        store = ArchiveStore(open_folder(str(folder)), ignore_note)
        counts = [each.batch.count for each in store.batches(EventRange(0), lambda: False)]
        assert counts == [counts[0]] * 4
        assert positions(open_folder(str(folder)), "batches", [0]) == {0: 4}


def test_a_second_process_cannot_store_the_same_messages(tmp_path: Path) -> None:
    """Such as one that hung while its partitions were given to another."""
    both = [intake(tmp_path), intake(tmp_path)]
    for each in both:
        for message in messages(3):
            each.take("events", message, 0.0)
    list(both[0].store_all())

    with pytest.raises(Overtaken):
        list(both[1].store_all())
    assert sequences(tmp_path) == [0, 1, 2]


def test_messages_are_stored_when_they_are_many_or_old_or_of_another_hour(tmp_path: Path) -> None:
    """A file has messages of one hour, also where a timestamp goes back."""
    first, second, third, fourth = messages(4)
    taking = intake(tmp_path)
    taking.take("events", first, 0.0)
    assert list(taking.store_due(59.0)) == []
    assert list(taking.store_due(60.0)) == [("events", 0, 1)]
    for each in (second, replace(third, stamp=NOON + HOUR_MS), fourth):
        taking.take("events", each, 61.0)
    assert taking.bytes > 3 * len(first.text)
    assert list(taking.store_due(62.0)) == [("events", 0, 2)]
    list(taking.store_all())
    small = intake(tmp_path / "small", limit_bytes=1000)
    small.take("events", first, 0.0)
    assert list(small.store_due(0.0)) == [("events", 0, 1)]

    files = open_folder(str(tmp_path))
    assert [each.hour for each in files.select("batches")] == [NOON, NOON, NOON + HOUR_MS]
    assert sequences(tmp_path) == [0, 1, 3, 2]


def test_a_batch_that_is_huge_as_rows_is_refused(tmp_path: Path) -> None:
    """A message of a megabyte may have a hundred thousand events that refer to one long text."""
    batch = stored_now().batches[0]
    strings = [*batch.strings, "x" * 200_000]
    columns: dict[str, Any] = {name: [] for name in batch.columns}
    for name, column in batch.columns.items():
        if name == "arg_start":
            columns[name] = type(column)(column.typecode, [0] * 5001)  # type: ignore[attr-defined, call-arg]
        elif name.startswith("arg_"):
            columns[name] = column[:0]
        else:
            value = len(strings) - 1 if name == "buffer" else column[0]
            columns[name] = type(column)(column.typecode, [value] * 5000)  # type: ignore[attr-defined, call-arg]
    hostile = replace(batch, count=5000, strings=strings, columns=columns, sequence=1)
    notes: list[str] = []
    taking = intake(tmp_path, notes)
    for at, each in enumerate((batch, hostile, replace(batch, sequence=2))):
        taking.take("events", Received(encode_batch(each), NOON, at), 0.0)
    list(taking.store_all())

    assert "MiB as rows" in notes[0]
    assert sequences(tmp_path) == [batch.sequence, 1, 2]
    assert taking.counts.unreadable["events"] == 1
