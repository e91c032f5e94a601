"""Builds and runs the service that reads the Kubernetes API server."""

import asyncio
import os
import socket
from collections.abc import Callable

from lightkube.config.kubeconfig import SingleConfig

from bus.connection import Connection
from collector.kubernetes.api import ApiServer, BadCredentials, credentials
from collector.kubernetes.service import KubernetesService, ServiceSettings
from foundation.text import OnNote
from lanner.process.signals import call_on_stop
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault

_BEAT_SECONDS = 1.0


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
        from lanner.wiring.stages.cluster_actions import cluster_actions

        act = cluster_actions(settings, connection, api, identity, on_note).run
    return KubernetesService(api, connection, details, on_note, act)


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
