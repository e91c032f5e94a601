"""Bounded entries that one owner can't take from the others: the owner with the most gives up its oldest."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from processor.correlation.state.accounts import GroupAccounts

Bucket = TypeVar("Bucket", bound=Hashable)
Name = TypeVar("Name", bound=Hashable)
Entry = TypeVar("Entry")


class FairStore(Generic[Bucket, Name, Entry]):
    """Entries by bucket and name, up to a limit."""

    def __init__(self, maximum: int) -> None:
        """Begin empty. maximum: of entries in all buckets."""
        self._maximum = maximum
        self._buckets: dict[Bucket, dict[Name, tuple[str, Entry]]] = {}
        self._accounts: GroupAccounts[tuple[Bucket, Name]] = GroupAccounts()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, bucket: Bucket, name: Name) -> Entry | None:
        """Return an entry; None if there is none."""
        found = self._buckets.get(bucket, {}).get(name)
        return None if found is None else found[1]

    def within(self, bucket: Bucket) -> list[Entry]:
        """Return the entries of a bucket, the oldest first."""
        return [entry for _, entry in self._buckets.get(bucket, {}).values()]

    def entries(self) -> Iterable[Entry]:
        """Yield all entries."""
        return (entry for bucket in self._buckets.values() for _, entry in bucket.values())

    def put(self, owner: str, bucket: Bucket, name: Name, entry: Entry) -> list[Entry]:
        """Store an entry in place of the one of the same name.

        Args:
            owner: whose share of the room it takes.
            bucket: which entries are looked up together.
            name: of the entry in its bucket.
            entry: what to store.

        Returns:
            The entries that were evicted to make room.
        """
        self.remove(bucket, name)
        self._buckets.setdefault(bucket, {})[name] = (owner, entry)
        self._accounts.touch(owner, (bucket, name))
        self._count += 1
        gone = []
        while self._count > self._maximum:
            oldest = self._accounts.oldest_of_largest()
            gone.append(self._buckets[oldest[0]][oldest[1]][1])
            self.remove(*oldest)
        return gone

    def remove(self, bucket: Bucket, name: Name) -> None:
        """Remove an entry, if there is one."""
        entries = self._buckets.get(bucket)
        if entries is None or name not in entries:
            return
        owner, _ = entries.pop(name)
        self._accounts.leave(owner, (bucket, name))
        self._count -= 1
        if not entries:
            del self._buckets[bucket]
