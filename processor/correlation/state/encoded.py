"""The stored states as bytes: all of them, those that changed, or a snapshot.

An entry that cannot be encoded is dropped without affecting the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from processor.correlation.state.entry import GroupState, encode_entry, entry_key
from processor.correlation.state.snapshot import write_snapshot
from processor.correlation.state.store import Key, Store

_LONGEST_FAULT = 300


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change to write to the state table."""

    key: Key
    record: bytes
    """Its key in the table."""
    blob: bytes | None
    """The new state; None to delete it."""
    cause: int
    """The message that changed it last, as set in the store."""
    fault: str = ""
    """Why the state could not be encoded; empty if it could."""


def everything(store: Store) -> dict[bytes, bytes]:
    """Return all state as keys and values of a table."""
    found = {entry.key: _encoded(entry)[0] for entry in store}
    return {key: blob for key, blob in found.items() if blob is not None}


def take_changes(store: Store, macros: Sequence[str]) -> list[StateChange]:
    """Return the changes to write to a table since the last call; what cannot be encoded is dropped there too.

    If only the first of them are written, another process takes over with these and gets the messages again. A window
    that holds an event does not fire for it again, so what depends on that comes first: counts of repeats, then the
    windows of macros that refer to others, then those others. Counts that have ended are removed last.

    Args:
        store: the state.
        macros: the fingerprints of stateful macros, each behind those that it refers to.
    """
    ranks = {fingerprint: rank for rank, fingerprint in enumerate(reversed(macros), start=1)}
    last = len(ranks) + 1

    def rank(change: tuple[Key, GroupState | None, int]) -> int:
        (owner, _), entry, _ = change
        return ranks.get(owner, last if entry is None else 0)

    changes = []
    for key, entry, cause in sorted(store.take_changes(), key=rank):
        blob, fault = (None, "") if entry is None else _encoded(entry)
        if fault:
            store.drop(key)
        changes.append(StateChange(key, entry_key(*key), blob, cause, fault))
    store.take_changes()
    return changes


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


def _encoded(entry: GroupState) -> tuple[bytes | None, str]:
    """Return an entry's blob, or None and why there is none."""
    try:
        return encode_entry(entry), ""
    except Exception as problem:  # noqa: BLE001  the state of one group must not cost that of others
        return None, f"{type(problem).__name__}: {problem}"[:_LONGEST_FAULT]
