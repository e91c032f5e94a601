"""Settings of what is known of a fleet's hosts, and of what is kept of one host's events."""

from dataclasses import dataclass

from lanner.settings.about import about


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """When a host of a fleet counts as silent; the same for all processors."""

    silent_seconds: int = about(
        "A host that sent nothing for so long is silent; a quiet one sends something every 15 s.", 120
    )


@dataclass(frozen=True, slots=True)
class RollingRecordingSettings:
    """A rolling recording of what `run` sees, for `context` and `replay`."""

    size_mib: int | None = about("How much may lie there, MiB; nothing is kept, if not set. `run --keep 256MB`.", None)
    folder: str = about("Where; mode 0700, its files 0600.", "/var/lib/lanner/kept")
