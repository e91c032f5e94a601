"""Keeps the index current: one task per resource, each driven by its reflector."""

import asyncio
import random
import time

from collector.kubernetes.api import OPENED, ApiServer, ListOptions, RequestFailed
from collector.kubernetes.index import ClusterIndex
from collector.kubernetes.objects import RESOURCES, Resource
from collector.kubernetes.reflector import ListRequest, Reflector, RequestFailure, WatchRequest
from foundation.text import OnNote

_REMIND_SECONDS = 60.0
_RIGHTS = (401, 403)


class Watcher:
    """Lists and watches all resources until it is canceled."""

    def __init__(self, api: ApiServer, index: ClusterIndex, *, page_size: int, node: str = "", on_note: OnNote) -> None:
        """Prepare; nothing is requested. page_size: objects per page of a list. node: only its pods; empty for all."""
        self.listed = asyncio.Event()
        """Set once all resources were listed."""
        self.reflectors = {name: Reflector(random.random) for name in RESOURCES}
        self._api = api
        self._index = index
        self._page_size = page_size
        self._node = node
        self._on_note = on_note
        self._failing: set[str] = set()
        self._report_at = 0.0

    async def run(self) -> None:
        """List and watch; never returns."""
        async with asyncio.TaskGroup() as tasks:
            for resource in RESOURCES.values():
                tasks.create_task(self._hold(resource, self.reflectors[resource.name]))

    async def _hold(self, resource: Resource, reflector: Reflector) -> None:
        is_selected = bool(self._node) and resource.name == "pods"
        selection = ListOptions(self._page_size, f"spec.nodeName={self._node}" if is_selected else "")
        while True:
            failure = await self._request(resource, reflector, selection)
            if failure is not None:
                wait = reflector.failed(failure)
                self._failed(resource, failure)
                await asyncio.sleep(wait)

    async def _request(self, resource: Resource, reflector: Reflector, selection: ListOptions) -> RequestFailure | None:
        try:
            match reflector.next_request():
                case ListRequest(continues):
                    items = reflector.take_page(await self._api.page(resource, selection, continues))
                    self._answered(resource)
                    if items is not None:
                        self._index.replace(resource.name, items)
                        if self._index.is_complete:
                            self.listed.set()
                    return None
                case WatchRequest(version):
                    return await self._watch(resource, reflector, selection, version)
        except RequestFailed as error:
            return error.failure

    async def _watch(
        self, resource: Resource, reflector: Reflector, selection: ListOptions, version: str
    ) -> RequestFailure | None:
        began = time.monotonic()
        async for event in self._api.watch(resource, selection, version):
            if event is OPENED:
                self._answered(resource)
                continue
            if (failure := reflector.take_event(event)) is not None:
                return failure
            if event.item is None:
                continue
            if event.type == "DELETED":
                self._index.delete(resource.name, event.item.uid)
            else:
                self._index.put(resource.name, event.item)
        return reflector.ended(time.monotonic() - began)

    def _failed(self, resource: Resource, failure: RequestFailure) -> None:
        # Watches break now and then; only what fails twice in a row, or is refused, is worth a message.
        is_first = resource.name not in self._failing
        self._failing.add(resource.name)
        now = time.monotonic()
        if failure.reason == "gone" or (is_first and failure.reason != "refused") or now < self._report_at:
            return
        self._report_at = now + _REMIND_SECONDS
        others = f" and {len(self._failing) - 1} others" if len(self._failing) > 1 else ""
        hint = ". The rights that it needs are in docs/kubernetes-metadata.md" if failure.code in _RIGHTS else ""
        self._on_note(
            f"{resource.name}{others} cannot be read from {self._api.address} ({failure.text}){hint}.", "warning"
        )

    def _answered(self, resource: Resource) -> None:
        self._failing.discard(resource.name)
        if self._report_at and not self._failing:
            self._report_at = 0.0
            self._on_note(f"everything is read from {self._api.address} again.")
