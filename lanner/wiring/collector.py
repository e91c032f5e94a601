"""The collector as this process's settings want it."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import lanner
from collector.agent import Collector
from collector.bpf.program import RingSizes
from collector.kernel_feed import SENT_WHOLE
from collector.settings import CollectorSettings
from lanner.settings import Settings
from schemas.batch import EventBatch
from schemas.filter import PushdownFilter

INSTALLED_PROGRAMS = Path("/opt/lanner/cache")
"""Where compiled programs lie on a host that is given them with Lanner itself."""


def given_programs(settings: Settings) -> tuple[Path, ...]:
    """Say where compiled programs may lie that a like host made: as the settings say, and beside the program."""
    named = settings.collector.bpf_cache
    return (*([] if named is None else [Path(named)]), INSTALLED_PROGRAMS)


def make_collector(
    settings: Settings,
    event_types: Iterable[str],
    on_batch: Callable[[EventBatch], None],
    *,
    interest: PushdownFilter | None = None,
    variables: frozenset[str] = frozenset(),
    flush_ms: int | None = None,
    previous: tuple[int, int] = (0, -1),
    further_losses: Callable[[], Mapping[str, int]] = dict,
    on_note: Callable[[str], None] = lambda _: None,
) -> Collector:
    """Put a collector together; nothing is started.

    interest: which events could matter, for the kernel to leave out the others; None for all.
    variables: names of the environment variables that are collected.
    flush_ms: how soon a batch goes out, if not as the settings say.
    previous: start and last sequence of the collector before this one, where known.
    further_losses: what was lost behind the collector, by reason.
    on_note: receives messages for the operator.
    """
    wanted = settings.collector
    if settings.host.name:
        # The collector asks the environment for the host's name, as a container's manifest gives it.
        os.environ["LANNER_HOSTNAME"] = settings.host.name
    return Collector(
        event_types,
        on_batch=on_batch,
        interest=interest if wanted.pushdown else None,
        settings=CollectorSettings(
            host_id=settings.host.id or "",
            version=lanner.__version__,
            rings=RingSizes(events=wanted.ring_mib << 20, lifecycle=wanted.lifecycle_ring_mib << 20),
            exact_paths=wanted.exact_paths,
            sent_whole=SENT_WHOLE if wanted.count_repeats else 0,
            flush_events=wanted.batch_events,
            flush_seconds=(flush_ms or wanted.batch_ms) / 1000,
            variables=variables,
            given_programs=given_programs(settings),
            docker_socket=Path(wanted.docker_socket),
            container_parents=wanted.container_parents,
            previous_start=previous[0],
            previous_sequence=previous[1],
        ),
        further_losses=further_losses,
        on_note=on_note,
    )
