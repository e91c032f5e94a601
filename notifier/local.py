"""Standard output and files as a notifier's sinks: what a line of text can be written to is at hand."""

from collections.abc import Sequence

from notifier.receiver import Accepted, Later, Outcome, Parcel
from notifier.sink import Sink


class LocalReceiver:
    """Wraps a sink that counts its failures, and puts the alert off where it counted one."""

    most = 1

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def offer(self, parcels: Sequence[Parcel]) -> Outcome:
        """Write one line."""
        failed = self._sink.tally.failed
        try:
            self._sink.send(parcels[0].alert)
        except BrokenPipeError:
            return Later("nobody reads standard output any more")
        return Accepted() if self._sink.tally.failed == failed else Later("it can't be written")

    def tend(self) -> None:
        """Nothing to look after."""

    def reopen(self) -> None:
        """Open anew what log rotation moved away."""
        self._sink.reopen()

    def close(self) -> None:
        """Close it."""
        self._sink.close()
