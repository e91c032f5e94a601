"""Builds the collector from the settings."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import lanner
from collector.agent import Collector
from collector.host import HostFacts
from collector.kernel_feed import SENT_WHOLE, ProgramLoading
from collector.settings import CollectorSettings
from foundation.text import OnNote, ignore_note
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.program import ring_sizes
from schemas.batch import EventBatch
from schemas.filter import PushdownFilter
from schemas.host_keys import BadHostKey, check_host_id

if TYPE_CHECKING:
    from collector.publishing.identity import HostIdentity


class Source(Protocol):
    """A source of events: what a pipeline needs of the collector."""

    @property
    def kernel(self) -> str:
        """The kernel's release."""

    @property
    def hostname(self) -> str:
        """The host's name."""

    @property
    def off(self) -> Mapping[str, str]:
        """The features that are off under this kernel, each with the reason."""

    @property
    def emitted_until(self) -> int:
        """Boot-clock time up to which all events have been emitted, ns."""

    def start(self) -> None:
        """Start collecting. Raises EnvironmentLacks."""

    def poll(self, timeout: float) -> None:
        """Deliver events on this thread for about timeout seconds."""

    def rest(self, seconds: float, until_readable: int) -> bool:
        """Sleep until there is something to do, if nothing has come for a while; return whether it slept."""

    def watch(
        self,
        event_types: frozenset[str],
        pushdown_filter: PushdownFilter | None = None,
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Change the event types, the pushdown filter and the environment variables that are collected."""

    def stop(self) -> None:
        """Deliver the remaining events and detach."""


def make_collector(
    settings: Settings,
    event_types: Iterable[str],
    on_batch: Callable[[EventBatch], None],
    *,
    pushdown_filter: PushdownFilter | None = None,
    versions: frozenset[str] = frozenset(),
    variables: frozenset[str] = frozenset(),
    flush_ms: int | None = None,
    previous_start: int = 0,
    previous_sequence: int = -1,
    further_losses: Callable[[], Mapping[str, int]] = dict,
    loading: ProgramLoading | None = None,
    on_note: OnNote = ignore_note,
) -> Collector:
    """Build a collector without starting it.

    flush_ms is the maximum age of a batch, ms, if not as configured; further_losses returns events lost behind the
    collector, by reason; loading is the program, if its loading has begun.
    """
    section = settings.collector
    return Collector(
        event_types,
        on_batch=on_batch,
        pushdown_filter=pushdown_filter if section.pushdown else None,
        versions=versions,
        settings=CollectorSettings(
            host_id=settings.host.id or "",
            host_name=settings.host.name or "",
            version=lanner.__version__,
            rings=ring_sizes(settings),
            exact_paths=section.exact_paths,
            sent_whole=SENT_WHOLE if section.count_repeats else 0,
            flush_events=section.batch_events,
            flush_seconds=(flush_ms or section.batch_ms) / 1000,
            # A batch for a broker costs much more than one for this process.
            hurries=flush_ms is None,
            variables=variables,
            docker_socket=Path(section.docker_socket),
            podman_socket=Path(section.podman_socket),
            cri_sockets=tuple(map(Path, section.cri_sockets)),
            unknown_containers=section.unknown_containers,
            container_parents=section.container_parents,
            server_packages=section.server_packages,
            previous_start=previous_start,
            previous_sequence=previous_sequence,
        ),
        further_losses=further_losses,
        loading=loading,
        on_note=on_note,
    )


def identity_of(settings: Settings, host: HostFacts) -> "HostIdentity | None":
    """Return the identity that signs this host's batches, creating the key if needed; None if signing is off.

    Raises:
        BadInput: The key can't be used, or the host id is invalid.
        EnvironmentUnsupported: The library for signing is missing.
    """
    return None if settings.collector.identity == "off" else signing_identity(settings, host)


def signing_identity(settings: Settings, host: HostFacts) -> "HostIdentity":
    """Return this host's identity, creating the key if needed. Raises as identity_of."""
    from collector.publishing.identity import FILE_NAME, BadKeyFile, HostIdentity, host_key

    path = Path(settings.collector.key_file or Path(settings.kafka.spool_dir, FILE_NAME))
    try:
        check_host_id(host.id)
        key = host_key(path)
    except BadHostKey as error:
        raise BadInput(f"host.id: {error}.") from None
    except BadKeyFile as error:
        raise BadInput(f"the key of this host: {error}") from None
    except OSError as error:
        raise BadInput(f"the key of this host: {path}: {error.strerror}.") from None
    return HostIdentity(host.id, host.name, lanner.__version__, key)
