"""Reads the pods of this node from the API server while `lanner run` runs, if a kubeconfig is configured."""

import asyncio
import os
import threading
import time
from contextlib import suppress

from bus.connection import fault_text
from foundation.text import OnNote
from lanner.libraries import need
from lanner.settings import Settings
from processor.hosts.arrival import PodRecords

_TURN_SECONDS = 0.1
_MOST = 1000


class PodsOfNode:
    """A thread that keeps records of this node's pods."""

    def __init__(self, settings: Settings, records: PodRecords, hostname: str, on_note: OnNote) -> None:
        """Start it; the node's name is hostname, unless one is configured.

        Raises BadInput if the credentials can't be used, BusUnavailable if the library is missing.
        """
        need("kubernetes", "lightkube")
        from lanner.wiring.stages.kubernetes import api_server

        self._api = api_server(settings)
        self._settings = settings
        self._records = records
        self._node = settings.kubernetes.node_name or os.environ.get("NODE_NAME") or hostname.lower()
        self._on_note = on_note
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._turn, name="pods", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=2)

    def _turn(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001  detection must go on without the names
            self._on_note(f"the pods of this node are no longer read: {fault_text(error)}", "error")
        finally:
            self._loop.close()

    async def _run(self) -> None:
        from collector.kubernetes.api import Watcher
        from collector.kubernetes.index import ClusterIndex, Reconciler

        section = self._settings.kubernetes
        index = ClusterIndex()
        watcher = Watcher(self._api, index, page_size=section.page_size, node=self._node, on_note=self._on_note)
        reconciler = Reconciler(
            index, cluster=self._settings.cluster_name or "", delay=float(section.deletion_delay_seconds)
        )
        watching = asyncio.create_task(watcher.run())
        try:
            await watcher.listed.wait()
            while not watching.done():
                for key, value in reconciler.plan(time.monotonic(), _MOST):
                    self._records.put(key.encode(), value)
                    reconciler.arrived(key)
                await asyncio.sleep(_TURN_SECONDS)
            await watching
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._api.close()
