"""Keeps the index current: one task per resource, each driven by its reflector."""

import asyncio
import random
import time

from orchestrator.api import ApiServer, RequestFailed, Selection
from orchestrator.index import ClusterIndex
from orchestrator.objects import RESOURCES, Resource
from orchestrator.reflector import Failure, ListRequest, Reflector, WatchRequest
from schemas.text.notes import OnNote

_REMIND_SECONDS = 60.0
_RIGHTS = (401, 403)


class Watcher:
    """Lists and watches all resources until it is cancelled."""

    def __init__(self, api: ApiServer, index: ClusterIndex, *, page_size: int, node: str = "", on_note: OnNote) -> None:
        """Prepare; nothing is requested.

        Args:
            api: the API server.
            index: receives all objects.
            page_size: objects per page of a list.
            node: restricts pods to those of this node; empty for all.
            on_note: receives messages for an operator.
        """
        self.listed = asyncio.Event()
        """Set once all resources were listed."""
        self.reflectors = {name: Reflector(random.random) for name in RESOURCES}
        self._api = api
        self._index = index
        self._page_size = page_size
        self._node = node
        self._on_note = on_note
        self._reported: dict[str, float] = {}

    async def run(self) -> None:
        """List and watch; never returns."""
        async with asyncio.TaskGroup() as tasks:
            for resource in RESOURCES.values():
                tasks.create_task(self._hold(resource, self.reflectors[resource.name]))

    async def _hold(self, resource: Resource, reflector: Reflector) -> None:
        is_selected = bool(self._node) and resource.name == "pods"
        selection = Selection(self._page_size, f"spec.nodeName={self._node}" if is_selected else "")
        while True:
            failure = await self._request(resource, reflector, selection)
            if failure is None:
                self._recovered(resource)
                continue
            self._report(resource, failure)
            await asyncio.sleep(reflector.failed(failure))

    async def _request(self, resource: Resource, reflector: Reflector, selection: Selection) -> Failure | None:
        try:
            match reflector.next_request():
                case ListRequest(continues):
                    items = reflector.take_page(await self._api.page(resource, selection, continues))
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
        self, resource: Resource, reflector: Reflector, selection: Selection, version: str
    ) -> Failure | None:
        began = time.monotonic()
        async for event in self._api.watch(resource, selection, version):
            if (failure := reflector.take_event(event)) is not None:
                return failure
            if event.item is None:
                continue
            if event.type == "DELETED":
                self._index.delete(resource.name, event.item.uid)
            else:
                self._index.put(resource.name, event.item)
        return reflector.ended(time.monotonic() - began)

    def _report(self, resource: Resource, failure: Failure) -> None:
        if failure.reason == "gone":
            return
        now = time.monotonic()
        if now - self._reported.get(resource.name, -_REMIND_SECONDS) < _REMIND_SECONDS:
            return
        self._reported[resource.name] = now
        hint = ": the rights that it needs are in docs/kubernetes-metadata.md" if failure.code in _RIGHTS else ""
        self._on_note(f"{resource.name} cannot be read from {self._api.address} ({failure.text}){hint}.", "warning")

    def _recovered(self, resource: Resource) -> None:
        if self._reported.pop(resource.name, None) is not None:
            self._on_note(f"{resource.name} are read from {self._api.address} again.")
