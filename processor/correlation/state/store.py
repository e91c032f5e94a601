"""The states of all groups in memory, bounded, with what is due when and what has changed.

Where there is no more room, the account with the most groups gives up its oldest: neither a flood of group values nor
one of made-up hosts erases what is known of others.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator

from processor.correlation.pre_match import Group
from processor.correlation.state.accounts import GroupAccounts
from processor.correlation.state.entry import GroupState

Key = tuple[str, Group]
"""Fingerprint of the macro or rule, and the group."""

_MOST_NAMED = 1_000
OTHERS = "*"
"""Stands for the hosts beyond so many among those whose groups were evicted."""


class Store:
    """Entries by key."""

    def __init__(self, maximum: int, deadline: Callable[[GroupState], int]) -> None:
        """Begin empty.

        Args:
            maximum: of entries.
            deadline: when something has to be done about an entry, by the clock of ticks, ns; a change of the entry
                may put it off.
        """
        self._maximum = maximum
        self._deadline = deadline
        self._entries: dict[Key, GroupState] = {}
        self._accounts: GroupAccounts[Key] = GroupAccounts()
        self._due: list[tuple[int, int, Key]] = []
        self._scheduled: dict[Key, int] = {}
        self._pushed = 0
        self._changed: dict[Key, int] = {}
        self.cause = 0
        """Noted beside each change: the message that is being applied, so that it can be named if the change fails."""
        self.evicted: Counter[str] = Counter()
        """Evicted groups, by account."""
        self._fresh: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[GroupState]:
        return iter(self._entries.values())

    def get(self, key: Key) -> GroupState | None:
        """Return an entry; None if there is none."""
        return self._entries.get(key)

    def put(self, entry: GroupState) -> list[GroupState]:
        """Store an entry in place of the previous one.

        Returns:
            The entries that were evicted to make room.
        """
        key = (entry.owner, entry.group)
        before = self._entries.get(key)
        if before is not None and before.host != entry.host:
            self._accounts.leave(before.host, key)
        self._entries[key] = entry
        self._accounts.touch(entry.host, key)
        self._changed[key] = self.cause
        self._schedule(key, self._deadline(entry))
        gone = []
        while len(self._entries) > self._maximum:
            gone.append(self._evict())
        return gone

    def remove(self, key: Key) -> None:
        """Remove an entry."""
        entry = self._entries.pop(key)
        self._accounts.leave(entry.host, key)
        self._scheduled.pop(key, None)
        self._changed[key] = self.cause

    def drop(self, key: Key) -> None:
        """Evict an entry that cannot be written; the caller deletes it from the table."""
        entry = self._entries.get(key)
        if entry is not None:
            self.remove(key)
            self._note_evicted(entry.host)

    def due(self, now: int) -> Iterator[GroupState]:
        """Yield each entry whose deadline has passed; the caller changes or removes it before it requests the next.

        Args:
            now: by the clock of ticks, ns.
        """
        while self._due and self._due[0][0] <= now:
            when, _, key = heapq.heappop(self._due)
            if self._scheduled.get(key) != when:
                continue
            del self._scheduled[key]
            entry = self._entries[key]
            deadline = self._deadline(entry)
            if deadline > now:
                self._schedule(key, deadline)
            else:
                yield entry

    @property
    def has_changes(self) -> bool:
        """Whether anything has changed since the changes were taken."""
        return bool(self._changed)

    def take_changes(self) -> list[tuple[Key, GroupState | None, int]]:
        """Return what has changed since the last call: key, entry (None where it is gone), and the cause noted last."""
        changes = [(key, self._entries.get(key), cause) for key, cause in self._changed.items()]
        self._changed.clear()
        return changes

    def _schedule(self, key: Key, deadline: int) -> None:
        known = self._scheduled.get(key)
        if known is None or deadline < known:
            self._scheduled[key] = deadline
            self._pushed += 1
            heapq.heappush(self._due, (deadline, self._pushed, key))

    def _note_evicted(self, host: str) -> None:
        is_named = host in self.evicted or len(self.evicted) < _MOST_NAMED
        name = host if is_named else OTHERS
        self.evicted[name] += 1
        self._fresh[name] += 1

    def take_evicted(self) -> Counter[str]:
        """Return the groups evicted since the last call, by account."""
        fresh = self._fresh
        if fresh:
            self._fresh = Counter()
        return fresh

    def _evict(self) -> GroupState:
        key = self._accounts.oldest_of_largest()
        entry = self._entries[key]
        self.remove(key)
        self._note_evicted(entry.host)
        return entry
