"""Settings of a fleet's hosts, and of the rolling recording of one host's events."""

from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """When a host of a fleet counts as silent; use the same value for all processors."""

    silent_seconds: int = about(
        "A host that sent nothing for this long is silent; idle hosts send a heartbeat every 15 s.", 120
    )


@dataclass(frozen=True, slots=True)
class LagSettings:
    """When evaluation in a fleet counts as late; use the same value everywhere."""

    seconds: int = about("Age of the oldest event that is not evaluated from which this is reported.", 30)


@dataclass(frozen=True, slots=True)
class RollingRecordingSettings:
    """A rolling recording of what `run` sees: its events and alerts, for `context`, `alerts list` and `replay`."""

    size_mib: int = about("Maximum size, MiB; 0 records nothing. Also: `run --keep 256MB`.", 64, form=values.number)
    folder: str = about(
        "Folder of the recording; mode 0700, its files 0600. Two processes can't record to the same one.",
        "/var/lib/lanner/kept",
        form=values.path,
    )
