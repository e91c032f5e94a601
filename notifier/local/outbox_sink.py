"""A network sink in a process of its own events: taking an alert means to have it on disk, and a thread delivers it."""

from collections.abc import Callable

from notifier.delivery.worker import Address, Worker
from notifier.local.sink import LocalStats
from notifier.queue.outbox import Outbox
from schemas.alert import Alert

DRAIN_SECONDS = 3.0
STOP_SECONDS = 2.0


class OutboxSink:
    """Hangs on the in-process bus as any sink does."""

    def __init__(
        self, name: str, outbox: Outbox, worker: Worker, address: Address, on_trouble: Callable[[str], None]
    ) -> None:
        """Start delivering what waits from before."""
        self.name = name
        self.tally = LocalStats()
        self.delivery = worker.tally
        """What became of all alerts; tally says which were taken."""
        self.outbox = outbox
        self.worker = worker
        self._address = address
        self._on_trouble = on_trouble
        self._is_full = False
        worker.start()

    def send(self, alert: Alert) -> None:
        """Put an alert into the outbox, if it is for this sink."""
        if self._address(alert) is None:
            return
        try:
            outcome = self.outbox.put(alert)
            if outcome == "kept":
                self.tally.sent += 1
            elif outcome == "repeat":
                self.worker.tally.duplicates += 1
            self._report_room(is_full=outcome == "full")
        except OSError as error:
            self.tally.failed += 1
            self.worker.tally.lost += 1
            if self.tally.failed == 1:
                self._on_trouble(f"{self.name}: its outbox can't be written ({error}); alerts for it are lost.")

    def _report_room(self, *, is_full: bool) -> None:
        if is_full and not self._is_full:
            self._on_trouble(
                f"warning: {self.name}: its outbox is full (notifier.outbox_alerts): what repeats the most is not kept."
            )
        self._is_full = is_full

    def reopen(self) -> None:
        """Connect anew."""
        self.worker.reopen()

    def close(self) -> None:
        """Give what waits a moment to leave; the rest stays on disk for the next start."""
        self.worker.drain(DRAIN_SECONDS)
        stopped = self.worker.stop(STOP_SECONDS)
        left = self.outbox.backlog()
        if left:
            self._on_trouble(f"{self.name}: {left} alerts wait on disk and go out at the next start.")
        if stopped:
            self.outbox.close()
