"""Where retained events are read from: the topic of a fleet, or a recording."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from lanner.recorder.batches import StoredBatch

EARLIER_MS = 30_000
"""How much earlier than a time range to start: batches state every 15 s what is collected, and clocks may differ."""


@dataclass(frozen=True, slots=True)
class EventSpan:
    """A time range of retained events, ms since the epoch."""

    since: int
    time: int
    """The time that matters most: remarks state whether the source has it."""
    until: int | None = None
    """Batches that arrived later may be left out; None for all later ones."""


class EventHistory(Protocol):
    """Retained events of all hosts."""

    def batches(
        self, span: EventSpan, host: str | None, remarks: list[str], stop: Callable[[], bool]
    ) -> Generator[StoredBatch]:
        """Yield the batches of a time range, those of each host in order.

        Args:
            span: the time range; batches of other times may be among them.
            host: id or name of a host; None for all hosts.
            remarks: receives sentences on the source, such as where it begins.
            stop: called between reads; True ends the iteration.

        Raises:
            BadInput: The recording can't be read.
            BusUnavailable: The topic can't be read.
        """
