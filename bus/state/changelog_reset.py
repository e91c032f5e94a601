"""Notices that a table's topic was deleted and made anew under its writer: offsets begin again.

Whoever takes a partition over reads the topic and finds it empty or not. One that runs on writes what changes, and the
new topic would hold nothing else: then nobody could tell any more that the rest is missing.
"""

from collections.abc import Iterable, Mapping


class TableEnds:
    """Where the partitions end that this process writes alone."""

    def __init__(self, ends: Mapping[int, int]) -> None:
        """Begin. ends: by partition, the offset behind its last record."""
        self._ends = dict(ends)
        self._remade = 0
        self._mended = dict.fromkeys(ends, 0)

    def lacks(self, partition: int, offsets: Iterable[int]) -> bool:
        """Take the offsets of records that were written, in order, and tell whether what was there before is gone.

        Told once for each partition and topic: in a partition that writes seldom, it is known by another's offsets.
        """
        is_behind = False
        end = self._ends[partition]
        for offset in offsets:
            if offset >= 0:
                is_behind |= offset < end
                end = offset + 1
        if is_behind and self._mended[partition] == self._remade:
            self._remade += 1
        is_lacking = self._mended[partition] != self._remade
        self._mended[partition] = self._remade
        # Where nothing has shown yet where the new one ends, it begins.
        self._ends[partition] = end if is_behind or not is_lacking else 0
        return is_lacking
