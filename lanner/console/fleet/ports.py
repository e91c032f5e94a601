"""Where the console learns about hosts and rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lanner.recorder.topic.host_tally import FleetHost


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The hosts as they were read last."""

    hosts: Sequence[FleetHost] = ()
    read_at: int = 0
    """ms since the epoch; 0 if they were not read yet."""
    unknown: str = ""
    """Why nothing is known about hosts, as a sentence; empty if something is, or will be."""
    error: str = ""
    """Why they can't be read now."""


class FleetSource(Protocol):
    """What is known about hosts and rules; all calls are from any thread."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to read; call on_change on any thread when something changed."""

    def hosts(self) -> KnownHosts:
        """Return the hosts; they are read again for whoever calls it."""

    def stop(self) -> None:
        """Stop reading."""
