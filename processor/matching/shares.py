"""Shares of the values of a group, and the choice of the share that gives one up when the group is full.

A value counts to its host, and there to its container, or to its user outside containers. In a full group, the host
with the most values makes room for others, and within it the container or user with the most. So nobody can use up the
room of others by inventing values, containers or users.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from schemas.alert import Value

BRINGER_FIELDS: Final = ("container.id", "user.uid", "user.name")
"""The fields of system calls that identify the bringer of a value."""
JSON_BRINGER_FIELDS: Final = ("ka.user.name",)
"""The same of JSON events."""
_PART_BITS = 30
EVERYONE: Final = 0
"""Represents all shares: earlier releases did not distinguish them."""
_SPARE = 64
"""Changes of small groups after which all is counted again."""


def bringer_of(fields: Mapping[str, Value]) -> str:
    """Return the container or user that brought a value. fields: those of BRINGER_FIELDS or JSON_BRINGER_FIELDS."""
    container = fields.get("container.id")
    if container is not None and container != "host":
        return f"container {container}"
    user = fields.get("user.uid", fields.get("ka.user.name"))
    return "" if user is None else f"user {user}"


def bringer_text(fields: Mapping[str, Value]) -> str:
    """Return the bringer of a value as a text for people. fields: as in bringer_of."""
    bringer, uid, name = bringer_of(fields), fields.get("user.uid"), fields.get("user.name")
    user = "" if uid is None else f"user {uid}" if name is None else f"user {name} (uid {uid})"
    if bringer.startswith("container"):
        return f"{bringer}, {user}" if user else bringer
    return user or bringer or "unknown"


@lru_cache(maxsize=4096)
def share_of(host: str, bringer: str) -> int:
    """Return the share toward which values count: a number that begins with the host's part."""
    return _part(host) << _PART_BITS | _part(bringer)


def host_of(share: int) -> int:
    """Return the host's part of a share."""
    return share >> _PART_BITS


def whole_host(share: int) -> int:
    """Return the number that represents all shares of a share's host."""
    return host_of(share) << _PART_BITS


def _part(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _PART_BITS) or 1


class _Sizes:
    """Numbers of values, the largest found at once; of equal ones the first by name, in whatever order they came."""

    def __init__(self, sizes: Counter[int]) -> None:
        self.of = sizes
        self._heap = [(-size, name) for name, size in sizes.items()]
        heapq.heapify(self._heap)

    def change(self, name: int, by: int) -> None:
        self.of[name] += by
        if self.of[name]:
            heapq.heappush(self._heap, (-self.of[name], name))
        else:
            del self.of[name]

    def largest(self) -> int:
        while -self._heap[0][0] != self.of[self._heap[0][1]]:
            heapq.heappop(self._heap)
        return self._heap[0][1]


class Shares:
    """The shares of one full group.

    Outdated entries of the heaps are skipped; if there may be many, the object is worn and must be replaced.
    """

    def __init__(self, values: Iterable[tuple[str, int, int]]) -> None:
        """Count values. values: each with its share and the time of its last sighting, s."""
        hosts: Counter[int] = Counter()
        bringers: dict[int, Counter[int]] = {}
        self._oldest: dict[int, list[tuple[int, str]]] = {}
        self._left = _SPARE
        for value, share, seen in values:
            hosts[host_of(share)] += 1
            bringers.setdefault(host_of(share), Counter())[share] += 1
            self._oldest.setdefault(share, []).append((seen, value))
            self._left += 1
        for heap in self._oldest.values():
            heapq.heapify(heap)
        self._hosts = _Sizes(hosts)
        self._bringers = {host: _Sizes(sizes) for host, sizes in bringers.items()}

    @property
    def is_worn(self) -> bool:
        """True if too many entries may be outdated."""
        return self._left <= 0

    def add(self, value: str, share: int, seen: int) -> None:
        """Count a value that is new or was seen again; arguments as in the constructor."""
        self._left -= 1
        self._hosts.change(host_of(share), 1)
        self._bringers.setdefault(host_of(share), _Sizes(Counter())).change(share, 1)
        heapq.heappush(self._oldest.setdefault(share, []), (seen, value))

    def remove(self, share: int) -> None:
        """Subtract a value of a share."""
        self._hosts.change(host_of(share), -1)
        self._bringers[host_of(share)].change(share, -1)

    def spare(self, share: int, is_current: Callable[[str, int, int], bool]) -> str | None:
        """Return the value that makes room for one of a share; None if that has too many itself.

        Args:
            share: the one that needs room.
            is_current: returns whether a value still has a share and the time when it was seen last.
        """
        giver = self._giver(share)
        if giver is None:
            return None
        heap = self._oldest[giver]
        while not is_current(heap[0][1], giver, heap[0][0]):
            heapq.heappop(heap)
        return heap[0][1]

    def _giver(self, share: int) -> int | None:
        """Return the share that gives up a value; None if the other share would then have more."""
        host, largest = host_of(share), self._hosts.largest()
        if self._hosts.of[host] + 1 < self._hosts.of[largest]:
            return self._bringers[largest].largest()
        bringers = self._bringers.get(host)
        if bringers is None or not bringers.of:
            return None
        giver = bringers.largest()
        return giver if bringers.of[share] + 1 < bringers.of[giver] else None
