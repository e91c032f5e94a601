"""What every store of events and alerts promises: each test runs over recordings, and over topics of a real broker."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foundation.text import ignore_note
from lanner.recorder.context import EventQuery, find_around
from lanner.recorder.store import EventRange, EventStore, StoredBatch
from schemas.alert import Alert, alert_id
from schemas.batch import EventBatch
from tests.unit.alerts import alert
from tests.unit.lanner.recorder.hosts import SECOND, far, near
from tests.unit.lanner.recorder.tree.incident import MS


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store is filled with: the second batch, and the second alert, are damaged after they were written."""

    began: int
    """ns since the epoch."""

    @property
    def batches(self) -> Sequence[EventBatch]:
        """Two of one host, one of another, and another of the first."""
        return (
            near(self.began),
            replace(near(self.began), first_number=11),
            far(began=self.began),
            replace(near(self.began + SECOND), first_number=101),
        )

    @property
    def alerts(self) -> Sequence[Alert]:
        """One for each batch, about its third event."""
        return [
            alert(
                id=alert_id(self.began + 2 * MS, str(number)),
                time=self.began + 2 * MS,
                host_id=batch.host_id,
                hostname=batch.hostname,
                event={"evt.num": batch.first_number + 2},
            )
            for number, batch in enumerate(self.batches)
        ]


@dataclass(frozen=True, slots=True)
class Filled:
    """A store, what it has, and what it reported."""

    store: EventStore
    stored: Stored
    notes: list[str]

    @property
    def since(self) -> int:
        """A little before the first event, ms since the epoch."""
        return self.stored.began // MS - 60_000


def stored_now() -> Stored:
    """Return what was recorded now, so that a broker's clock has the same time."""
    return Stored(time.time_ns() // MS * MS)


def never() -> bool:
    """Stop nothing."""
    return False


def seen(batches: Sequence[StoredBatch]) -> list[tuple[str, int]]:
    """Return the host and the first number of each batch."""
    return [(each.batch.hostname, each.batch.first_number) for each in batches]


class EventStoreTests:
    """A subclass has the fixture `filled`."""

    def test_a_damaged_batch_is_noted_and_those_behind_it_are_read(self, filled: Filled) -> None:
        """In the order in which they arrived."""
        reading = filled.store.batches(EventRange(filled.since), never)

        assert seen(list(reading)) == [("web-1", 1), ("db-1", 500), ("web-1", 101)]
        assert len(filled.notes) == 1

    def test_a_host_is_selected_by_its_id_or_its_name(self, filled: Filled) -> None:
        """The store has the time that is asked about, so nothing is remarked."""
        for host in ("near", "web-1"):
            about = filled.stored.began // MS
            reading = filled.store.batches(EventRange(filled.since, host=host, about=about), never)
            assert seen(list(reading)) == [("web-1", 1), ("web-1", 101)]
            assert reading.remarks == []

    def test_portions_cover_the_time_range(self, filled: Filled) -> None:
        """The damaged batch is remarked."""
        until = time.time_ns() // MS + 60_000
        reading = filled.store.portions(EventRange(filled.since, until), never)
        batches = [batch for portion in reading for batch in portion.batches]

        assert sorted(seen(batches)) == [("db-1", 500), ("web-1", 1), ("web-1", 101)]
        assert reading.bytes > 0
        assert reading.share == 1.0
        assert reading.remarks

    def test_a_time_before_the_events_has_none(self, filled: Filled) -> None:
        """Although files and segments may begin at any time."""
        reading = filled.store.portions(EventRange(filled.since - 60_000, filled.since), never)

        assert [batch for portion in reading for batch in portion.batches] == []

    def test_alerts_come_in_order_and_are_found_by_their_id(self, filled: Filled) -> None:
        """A damaged one is noted."""
        store, alerts, began = filled.store, filled.stored.alerts, filled.stored.began
        found = list(store.alerts(EventRange(filled.since), never))

        assert [each.id for each in found] == [alerts[number].id for number in (0, 2, 3)]
        assert len(filled.notes) == 1
        assert store.alert(alerts[2].id, began // MS, never, ignore_note) == found[1]
        assert store.alert(alert_id(began, "none"), began // MS, never, ignore_note) is None

    def test_reading_ends_when_it_is_stopped(self, filled: Filled) -> None:
        """After the batch that was under way, if there was one."""
        assert len(list(filled.store.batches(EventRange(filled.since), lambda: True))) <= 1

    def test_a_reading_can_be_closed_before_its_end(self, filled: Filled) -> None:
        """Also before its beginning."""
        filled.store.batches(EventRange(filled.since), never).close()
        reading = filled.store.batches(EventRange(filled.since), never)
        next(iter(reading))
        reading.close()

        assert list(reading) == []

    def test_the_surroundings_of_an_alert_are_found(self, filled: Filled) -> None:
        """The batches of its host, the event that raised it, and the alerts of that time."""
        identity = filled.stored.alerts[0].id
        query = EventQuery(identity, None, 60_000, 60_000, 10)
        found = find_around(query, filled.store, frozenset, never, ignore_note)
        batches = list(found.batches)

        assert seen(batches) == [("web-1", 1), ("web-1", 101)]
        assert [found.is_trigger(batches[0].batch, number) for number in range(3)] == [False, False, True]
        assert identity in {each.id for each in found.alerts}
