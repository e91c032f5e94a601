"""How `lanner run` hands alerts to its sinks: directly, or through an outbox and a thread."""

from foundation.text import OnNote, count_of
from notifier.outbox import Outbox
from notifier.routing import Router
from notifier.sink import Delivered, RetryLater, Sink, SinkStats, Undeliverable
from notifier.worker import Worker
from schemas.alert import Alert

DRAIN_SECONDS = 3.0
STOP_SECONDS = 2.0


class DirectDelivery:
    """Sends each alert at once, to a sink on this host. What fails is lost, and counted."""

    def __init__(self, name: str, sink: Sink, router: Router, stats: SinkStats, report: OnNote) -> None:
        """Wrap a sink, which must never block; the router counts in stats the alerts that it rejects.

        report: called once when sending begins to fail, and once when it works again.
        """
        self.name = name
        self.stats = stats
        self._sink = sink
        self._router = router
        self._report = report
        self.failure = ""
        """Why the last alert was lost; empty if it was delivered."""

    def deliver(self, alert: Alert) -> None:
        """Send an alert if it is routed to this sink."""
        routed = self._router(alert)
        if routed is None:
            return
        outcome = self._sink.send([routed])
        if isinstance(outcome, Delivered):
            self.stats.delivered(alert.time)
            if self.failure:
                self.failure = ""
                self._report(f"{self.name}: accepts alerts again; {self.stats.lost:,} so far were lost.")
            return
        self.stats.lost += 1
        was_failing = bool(self.failure)
        reason = outcome.reason if isinstance(outcome, RetryLater | Undeliverable) else "rate limit"
        self.failure = reason or "no reason given"
        if not was_failing:
            self._report(f"{self.name}: {reason}; alerts are lost, and counted, until it works again.")

    def reopen(self) -> None:
        """Reopen files and connections."""
        self._sink.reopen()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


class OutboxDelivery:
    """Writes each alert to an outbox on disk, from which a worker thread sends it."""

    def __init__(self, name: str, outbox: Outbox, worker: Worker, report: OnNote) -> None:
        """Start the worker, which first sends what is left from the last run."""
        self.name = name
        self.stats = worker.stats
        self.outbox = outbox
        self.worker = worker
        self._report = report
        self._is_full = False
        self._unwritten = ""
        worker.start()

    @property
    def failure(self) -> str:
        """Why the sink takes nothing now, or nothing can wait for it; empty if both work."""
        return self._unwritten or self.worker.failure

    def deliver(self, alert: Alert) -> None:
        """Put an alert into the outbox if it is routed to this sink."""
        if self.worker.routed(alert) is None:
            return
        try:
            outcome = self.outbox.put(alert)
        except OSError as error:
            self.stats.lost += 1
            if not self._unwritten:
                self._report(f"{self.name}: its outbox can't be written ({error}); alerts for it are lost.")
            self._unwritten = f"its outbox can't be written ({error})"
            return
        self._unwritten = ""
        if outcome == "repeat":
            self.stats.duplicates += 1
        is_full = outcome == "full"
        if is_full and not self._is_full:
            self._report(
                f"{self.name}: its outbox is full (notifier.outbox_alerts); "
                "alerts of the rule that repeats most are dropped.",
                "warning",
            )
        self._is_full = is_full

    def reopen(self) -> None:
        """Reconnect."""
        self.worker.reopen()

    def close(self) -> None:
        """Send what can be sent soon; the rest stays on disk for the next start."""
        self.worker.drain(DRAIN_SECONDS)
        stopped = self.worker.stop(STOP_SECONDS)
        left = self.outbox.backlog()
        if left:
            self._report(f"{self.name}: {count_of(left, 'alert')} on disk, sent at the next start.")
        if stopped:
            self.outbox.close()


AlertDelivery = DirectDelivery | OutboxDelivery
