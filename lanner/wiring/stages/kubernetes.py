"""Builds what reads the Kubernetes API server: `lanner kubernetes`, and for `lanner run` the pods of its node."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lightkube.config.kubeconfig import SingleConfig

from bus.connection import Connection, fault_text
from collector.kubernetes.api import ApiServer, BadCredentials, Watcher, credentials
from collector.kubernetes.index import ClusterIndex, Reconciler
from collector.kubernetes.service import KubernetesService, ServiceSettings
from foundation.quantities import parse_sum
from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.process import call_on_stop
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault

if TYPE_CHECKING:
    from lanner.actions.cluster import ClusterActionService
    from processor.hosts.arrival import PodRecords

_BEAT_SECONDS = 1.0
_TURN_SECONDS = 0.1
_MOST = 1000


def kubernetes_service(settings: Settings, connection: Connection, on_note: OnNote) -> KubernetesService:
    """Return the service; nothing is connected. Raises BadInput."""
    section = settings.kubernetes
    api = api_server(settings)
    identity = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
    details = ServiceSettings(
        namespace=section.lease_namespace or api.namespace,
        lease=section.lease_name,
        identity=identity,
        page_size=section.page_size,
        cluster=settings.cluster_name or "",
        deletion_delay=section.deletion_delay_seconds,
    )
    act = None
    if section.actions.enabled:
        act = cluster_actions(settings, connection, api, identity, on_note).run
    return KubernetesService(api, connection, details, on_note, act)


def cluster_actions(
    settings: Settings, connection: Connection, api: ApiServer, term: str, note: OnNote
) -> "ClusterActionService":
    """Return the service that does actions; nothing is connected. term: unique among the processes. Raises BadInput."""
    # Only these need the libraries of signatures.
    from collector.kubernetes.acting import ClusterActions
    from lanner.actions.cluster import ClusterActionService, ClusterExecutor, ClusterKeys, ClusterRights
    from lanner.wiring.published import private_key, read_people_keys, read_public_keys

    section = settings.kubernetes.actions
    if section.key_file is None:
        raise BadInput("kubernetes.actions.key_file: actions need a key that signs their results.")
    keys = ClusterKeys(
        private_key(Path(section.key_file), "kubernetes.actions.key_file", "LANNER_KUBERNETES_ACTIONS_KEY_PASSWORD"),
        read_public_keys("kubernetes.actions.processor_key_files", section.processor_key_files),
        read_people_keys("kubernetes.actions", section.people_key_files, section.console_key_files),
    )
    if not (keys.processors or keys.people.every):
        raise BadInput("kubernetes.actions: nothing would be accepted: set processor_key_files or people_key_files.")
    own = settings.kubernetes.lease_namespace or api.namespace
    rights = ClusterRights(
        settings.cluster_name or "", frozenset(section.enabled), section.never_nodes, parse_sum(section.max_lease) or 0
    )
    actions = ClusterActions(api, own, section.never_namespaces)
    return ClusterActionService(
        connection, keys, lambda write: ClusterExecutor(actions, rights, term=term, write=write, note=note), note
    )


def api_server(settings: Settings) -> ApiServer:
    """Return the API server of the settings; nothing is connected. Raises BadSettings."""
    try:
        return ApiServer(check_credentials(settings))
    except BadCredentials as error:
        raise _unusable(error) from None


def check_credentials(settings: Settings) -> SingleConfig:
    """Read the credentials for the API server. Raises BadSettings."""
    try:
        return credentials(settings.kubernetes.kubeconfig, settings.kubernetes.context)
    except BadCredentials as error:
        raise _unusable(error) from None


def _unusable(error: BadCredentials) -> BadSettings:
    hint = "set kubernetes.kubeconfig, or run it in a pod with a service account"
    return BadSettings(SettingFault("kubernetes.kubeconfig", f"the API server can't be used: {error}.", hint))


def run_service(service: KubernetesService, on_turn: Callable[[], None]) -> None:
    """Run the service until SIGTERM or SIGINT; on_turn is called about once a second, on the running loop.

    Raises BusUnavailable if the broker's settings are unusable.
    """
    asyncio.run(_run(service, on_turn))


async def _run(service: KubernetesService, on_turn: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    call_on_stop(asyncio.get_running_loop(), stopping.set)
    running = asyncio.create_task(service.run())
    stop = asyncio.create_task(stopping.wait())
    try:
        while not running.done() and not stop.done():
            on_turn()
            await asyncio.wait((running, stop), timeout=_BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class PodsOfNode:
    """A thread that keeps records of this node's pods."""

    def __init__(self, settings: Settings, records: "PodRecords", hostname: str, on_note: OnNote) -> None:
        """Start it; the node's name is hostname, unless one is configured. Raises BadInput."""
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
