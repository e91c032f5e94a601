"""The state of one host, from the headers of its newest batches. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from schemas.batch import events_lost
from schemas.encoding.batch import BatchHead

LOSSES_MS = 60_000
"""Losses are counted in the last minute in which a host was seen."""


@dataclass(frozen=True, slots=True)
class FleetHost:
    """A host, from the headers of its newest batches."""

    id: str
    name: str
    seen: int
    """Append time of its newest batch, ms."""
    version: str
    kernel: str
    rules: str
    lag: int
    """From the creation of its newest batch to the broker, ms: large if it waited on disk."""
    losses: Mapping[str, int]
    """Its reported losses, by reason, in the batches that were read."""
    is_stopped: bool
    """True if its collector reported that it stopped."""
    offset: int = 0
    """How far its clock is behind the broker's, ns; 0 if it is right."""
    started: int = 0
    """When its collector started, by the host's clock, ns."""
    memory_bytes: int = 0
    watched: tuple[str, ...] | None = None
    """Event types that it sends in full; None if no batch that was read states it."""
    narrowed: tuple[str, ...] = ()
    """Event types that it sends only if a rule could match."""

    @property
    def lost(self) -> int:
        """Events lost in the batches that were read."""
        return events_lost(self.losses)

    def after(self, before: "FleetHost") -> "FleetHost":
        """Return the host with what only earlier batches stated."""
        if self.watched is not None or before.watched is None:
            return self
        return replace(self, watched=before.watched, narrowed=before.narrowed)


class HostTally:
    """Sums up the batches of one host, given in order."""

    def __init__(self) -> None:
        self._newest: tuple[BatchHead, int, int] | None = None
        self._stating: BatchHead | None = None
        self._lost: list[tuple[int, Mapping[str, int]]] = []

    def see(self, head: BatchHead, appended: int, offset: int = 0) -> None:
        """Record a batch by its header. appended: when, ms; offset: how far the host's clock is behind, ns."""
        self._newest = head, appended, offset
        if head.watched or head.narrowed:
            self._stating = head
        if head.lost:
            self._lost = [*self._recent(appended), (appended, head.lost)]

    def host(self) -> FleetHost:
        """Return the host; only after a batch was recorded."""
        assert self._newest is not None  # noqa: S101  the caller recorded one
        head, appended, offset = self._newest
        losses: Counter[str] = Counter()
        for _, lost in self._recent(appended):
            losses.update(lost)
        return FleetHost(
            id=head.host_id,
            name=head.hostname,
            seen=appended,
            version=head.collector_version,
            kernel=head.kernel,
            rules=head.interest_version or head.rules_version,
            lag=max(appended - (head.created + offset) // 1_000_000, 0),
            losses=dict(losses),
            is_stopped=head.stopping,
            offset=offset,
            started=head.collector_start + offset,
            memory_bytes=head.memory_bytes,
            watched=self._stating.watched if self._stating else None,
            narrowed=self._stating.narrowed if self._stating else (),
        )

    def _recent(self, now: int) -> list[tuple[int, Mapping[str, int]]]:
        return [each for each in self._lost if each[0] > now - LOSSES_MS]
