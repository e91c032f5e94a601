"""Metrics and health of `lanner archive`: what is stored, what waits, and the size of the archive."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lanner.operations.catalogue import Readings, Value
from lanner.operations.health import Beat, Health, HealthCheck

if TYPE_CHECKING:
    from lanner.archive.consumer import ArchiveConsumer
    from lanner.archive.intake import Intake
    from lanner.archive.upkeep import Upkeep


@dataclass(slots=True)
class ArchiveView:
    """Reads a running service."""

    intake: "Intake"
    consumer: "ArchiveConsumer"
    upkeep: "Upkeep"
    stuck_seconds: float
    folder: str
    """The setting archive.folder."""
    turned: Beat = field(default_factory=Beat)

    def readings(self) -> Readings:
        """Return the metrics."""
        counts, upkeep = self.intake.counts, self.upkeep.counts
        return {
            "lanner_events_total": {("archive",): counts.events},
            "lanner_archive_messages_total": {
                **{(topic, "stored"): number for topic, number in counts.messages.items()},
                **{(topic, "unreadable"): number for topic, number in counts.unreadable.items()},
            },
            "lanner_archive_missed_total": {(): self.consumer.missed},
            "lanner_archive_buffered_bytes": {(): self.intake.bytes},
            "lanner_archive_newest_seconds": {(): counts.newest / 1000},
            "lanner_problems": {("archive",): len(self._failures())},
            "lanner_archive_free_bytes": self._free(),
            "lanner_archive_files": {(): upkeep.files},
            "lanner_archive_bytes": {(): upkeep.bytes},
            "lanner_archive_files_total": {
                ("stored",): counts.files,
                ("merged",): upkeep.merged,
                ("deleted",): upkeep.deleted,
            },
            "lanner_consumer_lag": {(topic, str(number)): lag for (topic, number), lag in self.consumer.lag.items()},
        }

    def health(self) -> Health:
        """Return the checks."""
        return self.turned.health(self.stuck_seconds, self._ready)

    def _failures(self) -> list[str]:
        return [each for each in (self.consumer.failure, self.upkeep.failure) if each]

    def _free(self) -> dict[tuple[str, ...], Value]:
        """Return the free space of a folder; nothing for a bucket, or while it can't be read."""
        if "://" not in self.folder:
            with suppress(OSError):
                return {(): shutil.disk_usage(self.folder).free}
        return {}

    def _ready(self) -> list[HealthCheck]:
        consumer = self.consumer
        return [
            HealthCheck("broker", consumer.is_connected, "connected" if consumer.is_connected else "not connected"),
            HealthCheck(
                "partitions", consumer.assigned, "assigned" if consumer.assigned else "none assigned, or no positions"
            ),
            HealthCheck("storage", not consumer.failure, consumer.failure or "works"),
            *(
                HealthCheck("upkeep", is_good=True, detail=each, is_degraded=True)
                for each in [self.upkeep.failure]
                if each
            ),
        ]
