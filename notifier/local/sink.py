"""What every sink is, and how what it did is counted."""

from dataclasses import dataclass
from typing import Protocol

from schemas.alert import Alert


@dataclass(slots=True)
class LocalStats:
    """What became of the alerts that a sink was given: nothing is dropped without being counted."""

    sent: int = 0
    failed: int = 0


class Sink(Protocol):
    """Takes alerts one at a time; never raises for what the outside world does, but counts it.

    A closed standard output is the exception: it ends the program, as it ends any program in a pipe.
    """

    name: str
    tally: LocalStats

    def send(self, alert: Alert) -> None:
        """Deliver one alert."""

    def reopen(self) -> None:
        """Open anew what log rotation may have moved away."""

    def close(self) -> None:
        """Let go of files and sockets."""
