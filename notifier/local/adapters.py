"""Standard output and files as a notifier's sinks: what a line of text can be written to is at hand."""

from collections.abc import Callable, Sequence

from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import Address
from notifier.local.sink import Sink
from schemas.alert import Alert


class RoutedSink:
    """Takes what routes and mutes leave for a sink, with the text that its route asks for."""

    def __init__(self, name: str, sink: Sink, address: Address, delivery: SinkStats) -> None:
        """Wrap a sink under a name; address counts in delivery what isn't for it."""
        self.name = name
        self.tally = sink.tally
        self.delivery = delivery
        """What became of all alerts, as every sink of a notifier counts it."""
        self._sink = sink
        self._address = address

    def send(self, alert: Alert) -> None:
        """Write it, if it is for this sink."""
        parcel = self._address(alert)
        if parcel is None:
            return
        failed = self.tally.failed
        self._sink.send(parcel.told)
        if self.tally.failed == failed:
            self.delivery.delivered(alert.time)
        else:
            self.delivery.lost += 1

    def reopen(self) -> None:
        """Open anew what log rotation moved away."""
        self._sink.reopen()

    def close(self) -> None:
        """Close it."""
        self._sink.close()


class LocalSinkAdapter:
    """Wraps a sink that counts its failures, and puts the alert off where it counted one."""

    most = 1

    def __init__(self, sink: Sink, why: Callable[[], str] = lambda: "it can't be written") -> None:
        """Wrap a sink; why says what its last failure was."""
        self._sink = sink
        self._why = why

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Write one line."""
        failed = self._sink.tally.failed
        try:
            self._sink.send(parcels[0].told)
        except BrokenPipeError:
            return RetryLater("nobody reads standard output any more")
        return Delivered() if self._sink.tally.failed == failed else RetryLater(self._why())

    def tend(self) -> None:
        """Nothing to look after."""

    def reopen(self) -> None:
        """Open anew what log rotation moved away."""
        self._sink.reopen()

    def close(self) -> None:
        """Close it."""
        self._sink.close()
