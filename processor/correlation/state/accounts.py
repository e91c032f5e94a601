"""Who has how many groups: each group counts for one host, and the host with the most is found at once.

A group of a host that is new to the fleet counts for all newcomers together. Ids can be made up, so a hundred thousand
of them with one group each are one account of a hundred thousand, and not a hundred thousand that seem harmless.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

NEWCOMERS = ""
"""The account of all hosts that are new."""


class GroupAccounts(Generic[Key]):
    """Keys by account, each account's in the order in which they were touched last."""

    def __init__(self) -> None:
        self._keys: dict[str, OrderedDict[Key, None]] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        """Accounts by how many keys they have, in the order in which they came to have so many."""
        self._most = 0

    def touch(self, account: str, key: Key) -> None:
        """Make a key the newest of an account, which it may be in already."""
        keys = self._keys.get(account)
        if keys is None:
            keys = self._keys[account] = OrderedDict()
        if key in keys:
            keys.move_to_end(key)
            return
        keys[key] = None
        self._resize(account, len(keys) - 1, len(keys))

    def leave(self, account: str, key: Key) -> None:
        """Take a key out of the account that it is in."""
        keys = self._keys[account]
        del keys[key]
        self._resize(account, len(keys) + 1, len(keys))
        if not keys:
            del self._keys[account]

    def oldest_of_largest(self) -> Key:
        """Return the key that goes first: the oldest of the account that has the most.

        Where several have as many, it is the one that came to it last: who was there before is not pushed out.
        """
        account = next(reversed(self._by_size[self._most]))
        return next(iter(self._keys[account]))

    def _resize(self, account: str, before: int, after: int) -> None:
        if before:
            peers = self._by_size[before]
            del peers[account]
            if not peers:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[account] = None
        # Sizes change by one, so where the largest account shrinks alone, it stays the largest.
        if after > self._most or self._most not in self._by_size:
            self._most = after
