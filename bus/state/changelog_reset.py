"""Detect that a changelog topic was deleted and created again while its writer runs: its offsets start over.

A process that takes over a partition reads the topic and sees whether it is empty. A process that keeps running writes
only what changes, so the new topic would silently lack everything else.
"""

from collections.abc import Iterable, Mapping


class TableEnds:
    """The ends of the partitions that only this process writes."""

    def __init__(self, ends: Mapping[int, int]) -> None:
        """Start. ends: by partition, the offset after its last record."""
        self._ends = dict(ends)
        self._remade = 0
        self._mended = dict.fromkeys(ends, 0)

    def lacks(self, partition: int, offsets: Iterable[int]) -> bool:
        """Record the offsets of written records, in order; return whether the earlier records are gone.

        Returns True once per partition for each new topic. A reset that one partition's offsets show is reported for
        all partitions, so also for those that are rarely written.
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
        # If the new end is not known yet, assume an empty partition.
        self._ends[partition] = end if is_behind or not is_lacking else 0
        return is_lacking
