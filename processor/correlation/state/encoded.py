"""The stored states as bytes: all of them, those that changed, or a snapshot.

An entry that cannot be encoded is dropped without affecting the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from processor.correlation.first_seen.sightings import Sightings, ValueKey
from processor.correlation.first_seen.span import SeenGroup, SeenValue
from processor.correlation.state.entry import GroupState, SeenEntry, encode_entry, entry_key
from processor.correlation.state.snapshot import write_snapshot
from processor.correlation.state.store import Key, Store
from processor.correlation.state.window_state import WindowState

_LONGEST_FAULT = 300
_Change = tuple[Key | ValueKey, GroupState | SeenEntry | None, int]


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change to write to the state table."""

    key: Key | ValueKey
    record: bytes
    """Its key in the table."""
    blob: bytes | None
    """The new state; None to delete it."""
    cause: int
    """The message that changed it last, as set in the store."""
    fault: str = ""
    """Why the state could not be encoded; empty if it could."""


def everything(state: WindowState) -> dict[bytes, bytes]:
    """Return all state as keys and values of a table."""
    found = {entry.key: _encoded(entry)[0] for entry in state.store}
    for (owner, group, value), host, record in state.sightings.records():
        found[entry_key(owner, group, value)] = _encoded(SeenEntry(owner, group, host, record))[0]
    return {key: blob for key, blob in found.items() if blob is not None}


def take_changes(state: WindowState, macros: Sequence[str]) -> list[StateChange]:
    """Return the changes to write to a table since the last call; what cannot be encoded is dropped there too.

    If only the first of them are written, another process takes over with these and gets the messages again. A window
    that holds an event does not fire for it again, so what depends on that comes first: counts of repeats, then the
    windows of macros that refer to others, then those others. Counts that have ended are removed last.

    Args:
        state: the state.
        macros: the fingerprints of stateful macros, each behind those that it refers to.
    """
    ranks = {fingerprint: rank for rank, fingerprint in enumerate(reversed(macros), start=1)}
    last = len(ranks) + 1

    def rank(change: _Change) -> tuple[int, bool]:
        key, entry, _ = change
        # Without its values, what is known of a group could make them new.
        is_head = len(key) > 2 and key[-1] is None
        return ranks.get(key[0], last if entry is None else 0), is_head

    changes = []
    changed: list[_Change] = [*state.store.take_changes(), *_seen_changes(state.sightings)]
    for key, entry, cause in sorted(changed, key=rank):
        blob, fault = (None, "") if entry is None else _encoded(entry)
        if fault:
            state.drop(key)
        changes.append(StateChange(key, entry_key(*key), blob, cause, fault))
    state.forget_changes()
    return changes


def _seen_changes(sightings: Sightings) -> Iterator[tuple[ValueKey, SeenEntry | None, int]]:
    for key, host, record, cause in sightings.take_changes():
        yield key, None if record is None else SeenEntry(*key[:2], host, record), cause


def seen_records(state: WindowState, *, changed: bool) -> list[bytes]:
    """Return the records of known values for a file, in which the last one of a value counts.

    Args:
        state: the state.
        changed: only what has changed since the last call; then the record of a forgotten value says so.
    """
    if not changed:
        entries = [SeenEntry(*key[:2], host, record) for key, host, record in state.sightings.records()]
    else:
        entries = [
            entry or SeenEntry(*key[:2], "", SeenValue(key[2], 0) if key[2] is not None else SeenGroup(0))
            for key, entry, _ in _seen_changes(state.sightings)
        ]
    return [blob for entry in entries if (blob := _encoded(entry)[0]) is not None]


class SnapshotEncoder:
    """Encodes snapshots; entries that have not changed since the last one are not encoded again."""

    def __init__(self) -> None:
        """Begin with nothing encoded."""
        self._encoded: dict[int, tuple[GroupState, bytes]] = {}
        """By id(); the entry is stored beside its bytes so that its id is not reused."""

    def encode(self, store: Store, now: int) -> bytes:
        """Encode all state.

        Args:
            store: the state.
            now: the clock, ns since the epoch.
        """
        before = self._encoded
        self._encoded = {}
        for entry in list(store):
            known = before.get(id(entry))
            blob = _encoded(entry)[0] if known is None else known[1]
            if blob is not None:
                self._encoded[id(entry)] = (entry, blob)
            else:
                store.drop((entry.owner, entry.group))
        return write_snapshot(now, [blob for _, blob in self._encoded.values()])


def _encoded(entry: GroupState | SeenEntry) -> tuple[bytes | None, str]:
    """Return an entry's blob, or None and why there is none."""
    try:
        return encode_entry(entry), ""
    except Exception as problem:  # noqa: BLE001  the state of one group must not cost that of others
        return None, f"{type(problem).__name__}: {problem}"[:_LONGEST_FAULT]
