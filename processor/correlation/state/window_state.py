"""All state of a correlator: windows, counts of repeats, and known values; moved, restored and encoded together."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeAlias

from processor.correlation.first_seen.sightings import Sightings, ValueKey, sighting_of
from processor.correlation.notices import Tally
from processor.correlation.pre_match import Feed, PreMatch, StateCommand
from processor.correlation.state.entry import SeenEntry, decode_entry, decode_record
from processor.correlation.state.snapshot import read_snapshot
from processor.correlation.state.store import Key, Store
from processor.correlation.suppress import Throttle
from processor.correlation.windows.retime import latest_time, retimed

Unstored: TypeAlias = tuple[str, str, str]
"""The id of a host, its name, and the macro with the container or user that brought a value."""


class WindowState:
    """Windows, counts of repeats, and the values that first_seen knows."""

    def __init__(self, store: Store, sightings: Sightings) -> None:
        """Take two empty stores."""
        self.store = store
        self.sightings = sightings
        self.unstored: Counter[Unstored] = Counter()
        """Unreported values of first_seen for which there was no room."""

    def take_evicted(self) -> Counter[str]:
        """Return the groups evicted since the last call, by account."""
        return self.store.take_evicted() + self.sightings.take_evicted()

    def take_unstored(self) -> "Counter[Unstored]":
        """Return the values since the last call for which there was no room."""
        found, self.unstored = self.unstored, Counter()
        return found

    @property
    def evicted(self) -> int:
        """The number of evicted groups."""
        return self.store.evicted.total() + self.sightings.evicted_total

    def set_cause(self, cause: int) -> None:
        """Note the message that is being applied beside each change."""
        self.store.cause = self.sightings.cause = cause

    def shift(self, step: int) -> None:
        """Move all times. step: ns; negative to move them back."""
        self._retime(lambda time: time + step)

    def repair(self, limit: int, now: int) -> int:
        """Set state with times in the future to the present.

        Args:
            limit: later times are wrong, ns.
            now: the present, ns.

        Returns:
            The number of groups repaired.
        """

        def present(time: int) -> int:
            return min(time, now)

        wrong = [entry for entry in self.store if max(entry.touched, latest_time(entry.state)) > limit]
        for entry in wrong:
            self.store.put(replace(entry, touched=present(entry.touched), state=retimed(entry.state, present)))
        return len(wrong) + self.sightings.retime(lambda time: now if time > limit else time)

    def restore(self, data: bytes) -> int:
        """Replace windows and counts of repeats by a snapshot; return its clock.

        Raises:
            BadState: the bytes are not a snapshot of this version; nothing is changed.
        """
        written, blobs = read_snapshot(data)
        entries = [decode_entry(blob) for blob in blobs]
        for held in list(self.store):
            self.store.remove((held.owner, held.group))
        for entry in entries:
            self.store.put(entry)
        return written

    def load(self, blob: bytes) -> None:
        """Load one record. Raises BadState."""
        entry = decode_record(blob)
        if isinstance(entry, SeenEntry):
            self.sightings.load(entry.owner, entry.group, entry.host, entry.state)
        else:
            self.store.put(entry)
        self.forget_changes()

    @property
    def needs_time(self) -> bool:
        """Whether the time alone can change anything, or changes are not written yet."""
        return bool(len(self.store) or self.sightings.groups or self.store.has_changes or self.sightings.has_changes)

    def drop(self, key: Key | ValueKey) -> None:
        """Drop an entry that cannot be written; the caller deletes it from the table."""
        if len(key) == 2:
            self.store.drop(key)
        else:
            self.sightings.drop(key)

    def obey(self, command: StateCommand, about: PreMatch, now: int) -> None:
        """Learn or forget.

        Args:
            command: what to change.
            about: the message that holds it, with the group.
            now: the present, ns.
        """
        owner, group = command.owner, about.group
        if command.action == "begin":
            self.sightings.learned_since(owner, group, about.time)
        elif command.action == "learn":
            self.sightings.learn(sighting_of(about, owner, Feed("", command.value), now), now)
        elif command.value is not None:
            self.sightings.drop((owner, group, command.value))
        else:
            for each in list(self.store):
                if each.owner == owner and (command.is_everywhere or each.group == group):
                    self.store.remove((owner, each.group))
            for known in self.sightings.all_groups():
                if known[0] == owner and (command.is_everywhere or known[1] == group):
                    self.sightings.drop((*known, None))

    def forget_changes(self) -> None:
        """Take what is there as written."""
        self.store.take_changes()
        self.sightings.take_changes()

    def forget_unknown(self, known: Collection[str]) -> None:
        """Drop what belongs to no macro. known: the fingerprints of macros."""
        for entry in list(self.store):
            # Sums hold all that their alert needs, with or without the rule.
            if not isinstance(entry.state, (Throttle, Tally)) and entry.owner not in known:
                self.store.remove((entry.owner, entry.group))
        for owner, group in self.sightings.all_groups():
            if owner not in known:
                self.sightings.drop((owner, group, None))

    def _retime(self, retime: Callable[[int], int]) -> None:
        for entry in list(self.store):
            self.store.put(replace(entry, touched=retime(entry.touched), state=retimed(entry.state, retime)))
        self.sightings.retime(retime)
