"""The collector as this process's settings want it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import lanner
from collector.agent import Collector, CollectorSettings
from collector.bpf.program import RingSizes
from collector.syscalls import BY_EVENT
from lanner.settings import Settings
from schemas.batch import EventBatch

EVERYTHING = frozenset(BY_EVENT) | {"execve", "execveat"}
"""Every event type that the collector can be asked for."""


def make_collector(
    settings: Settings,
    event_types: Iterable[str],
    on_batch: Callable[[EventBatch], None],
    *,
    environment: bool = False,
) -> Collector:
    """Put a collector together; nothing is started.

    environment: whether environment variables are collected, which a rule has to ask for.
    """
    wanted = settings.collector
    if settings.host.name:
        # The collector asks the environment for the host's name, as a container's manifest gives it.
        os.environ["LANNER_HOSTNAME"] = settings.host.name
    return Collector(
        event_types,
        on_batch=on_batch,
        settings=CollectorSettings(
            host_id=settings.host.id or "",
            version=lanner.__version__,
            rings=RingSizes(events=wanted.ring_mib << 20, lifecycle=wanted.lifecycle_ring_mib << 20),
            flush_events=wanted.batch_events,
            flush_seconds=wanted.batch_ms / 1000,
            environment=environment,
            docker_socket=Path(wanted.docker_socket),
        ),
    )
