"""The service of a cluster: one process leads, reads the API server and writes the topic; the others wait."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bus.connection import Connection
from bus.errors.unavailable import BusUnavailable
from collector.kubernetes.api import ApiServer
from collector.kubernetes.lease import Elector
from collector.kubernetes.watching.index import ClusterIndex
from collector.kubernetes.watching.watcher import Watcher
from collector.kubernetes.writer import PodWriter
from schemas.text.notes import OnNote


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the service needs to know."""

    namespace: str
    """The namespace of the lease."""
    lease: str
    """Its name."""
    identity: str
    """Identifies this process; unique among those that compete for the lease."""
    page_size: int
    """Objects per page of a list."""
    cluster: str
    """The cluster's name; empty if none is configured."""
    deletion_delay: float
    """Seconds for which the record of a deleted pod stays."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """The counts of all terms of leadership; replaced as a whole, because other threads read them."""

    former_lists: Counter[str] = field(default_factory=Counter)
    former_restarts: Counter[tuple[str, str]] = field(default_factory=Counter)
    former_refused: int = 0
    watcher: Watcher | None = None
    """The watcher of the current term."""
    writer: PodWriter | None = None

    def lists(self) -> Counter[str]:
        current = {} if self.watcher is None else self.watcher.reflectors
        return self.former_lists + Counter({name: each.lists for name, each in current.items()})

    def restarts(self) -> Counter[tuple[str, str]]:
        current = {} if self.watcher is None else self.watcher.reflectors
        reasons = {(name, reason): n for name, each in current.items() for reason, n in each.restarts.items()}
        return self.former_restarts + Counter(reasons)

    def refused(self) -> int:
        return self.former_refused + (0 if self.writer is None else self.writer.reconciler.refused)


class KubernetesService:
    """Leads or waits until it is canceled; its counts can be read at any time."""

    def __init__(self, api: ApiServer, connection: Connection, settings: ServiceSettings, on_note: OnNote) -> None:
        """Prepare; nothing is connected."""
        self.elector = Elector(api, settings.namespace, settings.lease, settings.identity, on_note)
        self.written = 0
        """Messages that the broker acknowledged."""
        self._terms = _Terms()
        self._api = api
        self._connection = connection
        self._settings = settings
        self._on_note = on_note
        self._index: ClusterIndex | None = None

    @property
    def address(self) -> str:
        """The URL of the API server."""
        return self._api.address

    @property
    def objects(self) -> Mapping[str, int]:
        """The number of objects by resource; empty while this process doesn't lead."""
        return {} if self._index is None else self._index.counts()

    @property
    def lists(self) -> Counter[str]:
        """Complete lists by resource."""
        return self._terms.lists()

    @property
    def restarts(self) -> Counter[tuple[str, str]]:
        """Watches that ended, by resource and reason."""
        return self._terms.restarts()

    @property
    def refused(self) -> int:
        """Pods without a record, because a name is out of range."""
        return self._terms.refused()

    @property
    def is_complete(self) -> bool:
        """Whether all resources were listed in this term."""
        return self._index is not None and self._index.is_complete

    async def run(self) -> None:
        """Lead or wait; cancel to end. Raises BusUnavailable if the broker's settings are unusable."""
        try:
            await self.elector.run(self._lead)
        finally:
            await self.elector.release()
            await self._api.close()

    async def _lead(self) -> None:
        self._index = ClusterIndex()
        watcher = Watcher(self._api, self._index, page_size=self._settings.page_size, on_note=self._on_note)
        writer = PodWriter(
            self._connection,
            self._index,
            watcher.listed,
            cluster=self._settings.cluster,
            delay=self._settings.deletion_delay,
            may_write=lambda: self.elector.may_write,
            on_written=self._count,
            on_note=self._on_note,
        )
        self._terms = replace(self._terms, watcher=watcher, writer=writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watcher.run())
                tasks.create_task(writer.run())
        except* BusUnavailable as errors:
            raise errors.exceptions[0] from None
        finally:
            self._terms = _Terms(self._terms.lists(), self._terms.restarts(), self._terms.refused())
            self._index = None

    def _count(self) -> None:
        self.written += 1
