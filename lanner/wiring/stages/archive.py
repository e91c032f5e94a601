"""Builds `lanner archive`: a consumer that stores messages, and a thread that merges and deletes files."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from bus.clients.availability import Outage, Retry, persist
from bus.connection import BusUnavailable, Connection
from foundation.text import OnNote
from lanner.archive.consumer import ArchiveConsumer
from lanner.archive.files import ArchiveFiles
from lanner.archive.intake import Intake
from lanner.archive.upkeep import Upkeep
from lanner.libraries import need
from lanner.recorder.topic import reader_of_values
from lanner.settings import Settings
from schemas.encoding.batch import BadBatch

if TYPE_CHECKING:
    from lanner.archive.iceberg import ArchiveTables
    from lanner.wiring.stages.indicator_search import SearchThread

_UPKEEP_SECONDS = 600.0
_STOP_SECONDS = 10.0
_CATALOG_SECONDS = 60.0
"""How long a start waits for the catalog of tables."""


@dataclass(frozen=True, slots=True)
class ArchiveService:
    """The parts of one process."""

    intake: Intake
    upkeep: Upkeep
    consumer: ArchiveConsumer
    search: "SearchThread | None"
    """Searches for new entries of lists of indicators, if that is configured."""
    _note: OnNote
    _ended: threading.Event

    def run(self, stop: Callable[[], bool], turn: Callable[[], None]) -> None:
        """Run until `stop` returns True; ArchiveConsumer.run describes the errors."""
        threads = [threading.Thread(target=self._keep_up, name="upkeep", daemon=True)]
        if self.search is not None:
            threads.append(threading.Thread(target=self.search.run, args=(_now,), name="search", daemon=True))
        for thread in threads:
            thread.start()
        try:
            self.consumer.run(stop, turn)
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(_STOP_SECONDS)

    def _keep_up(self) -> None:
        outage = Outage("merging and deleting files", self._note, of="the archive")
        while True:
            try:
                self.upkeep.look(_now())
            except (OSError, BadBatch, pa.ArrowException) as error:
                self.upkeep.failure = f"the archive can't be looked after: {str(error).rstrip('.')}"
                outage.goes_on(self.upkeep.failure)
            else:
                self.upkeep.failure = ""
                outage.is_over()
            if self._ended.wait(_UPKEEP_SECONDS):
                return


def archive_service(settings: Settings, files: ArchiveFiles, connection: Connection, note: OnNote) -> ArchiveService:
    """Return the service; it has joined its group. Raises BusUnavailable, and BadInput if keys can't be read."""
    section = settings.archive
    tables = None if section.catalog is None else _tables(section.catalog, section.s3_endpoint, files, note)
    intake = Intake(
        files,
        reader_of_values(connection),
        note,
        limit_bytes=section.buffer_mib << 20,
        flush_seconds=section.flush_seconds,
    )
    upkeep = Upkeep(files, note, max_days=section.max_days, max_bytes=section.max_gib << 30, tables=tables)
    consumer, ended = ArchiveConsumer(connection, files, intake, note), threading.Event()
    search = None
    if section.indicator_days:
        # The engine and DuckDB take 100 MiB.
        from lanner.wiring.stages.indicator_search import indicator_search

        search = indicator_search(settings, files, connection, lambda: consumer.leads, ended=ended, note=note)
    return ArchiveService(intake, upkeep, consumer, search, note, ended)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _tables(catalog: str, endpoint: str | None, files: ArchiveFiles, note: OnNote) -> "ArchiveTables":
    need("iceberg", "pyiceberg", "sqlalchemy")
    from lanner.archive.iceberg import ArchiveTables

    def attempt() -> ArchiveTables:
        try:
            return ArchiveTables(files, catalog, note, {"s3.endpoint": endpoint} if endpoint else {})
        except OSError as error:
            remedy = "check the setting, and whether the catalog can be reached"
            raise BusUnavailable(f"archive.catalog: {error}", remedy) from None

    # If several processes create the tables at the same time, one alone succeeds at first.
    return persist(attempt, Retry("storing", note, most_seconds=_CATALOG_SECONDS, of="the catalog"))
