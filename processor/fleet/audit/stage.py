"""Evaluates the messages of the topic of Kubernetes audit events. Pure: no message can make it raise."""

from collections import Counter

from bus.messages.clock_offset import append_time
from processor.audit.detector import AuditDetector
from processor.audit.events import BadAuditEvent, event_of, parse
from processor.correlation.notices import notice_of
from processor.correlation.pre_match import Notice
from processor.correlation.wire import message_of
from processor.detection.internal_alerts import RULE_FAILED, Cause
from processor.detection.stage import failed_text
from processor.fleet.message_stage import MessageResult
from schemas.catalogue.sources import K8S_AUDIT


class AuditStage:
    """Evaluates one event after the other."""

    def __init__(self, detector: AuditDetector) -> None:
        """Take the compiled rules on audit events."""
        self.detector = detector
        self.events = 0
        """Events evaluated, by these rules and the former ones."""
        self.refused = 0
        """Messages that are not an audit event."""
        self._reported_faults: Counter[str] = Counter()

    def change_rules(self, detector: AuditDetector) -> None:
        """Evaluate other rules from the next event on."""
        self.detector = detector
        self._reported_faults = Counter()

    def take(self, value: bytes | None, position: tuple[str, int, int], appended: int) -> MessageResult:
        """Evaluate one message.

        Args:
            value: the message: an audit event as JSON.
            position: topic, partition, offset.
            appended: when the broker appended it, ms.
        """
        received = append_time(appended)
        try:
            event = event_of(parse(value or b""), self.events, received)
        except BadAuditEvent as error:
            self.refused += 1
            return MessageResult(refused=f"not an audit event: {error}")
        self.events += 1
        alerts = self.detector.process(event)
        pre_matches = [message_of(each) for each in self.detector.pre_matches(event, received)]
        return MessageResult(tuple(alerts), (*pre_matches, *self._failures(position, received)), events=1)

    def _failures(self, position: tuple[str, int, int], received: int) -> list[tuple[bytes, bytes]]:
        """Return the notice about rules that raised since the last one, for the correlate topic."""
        faults = self.detector.faults
        if faults == self._reported_faults:
            return []
        fresh = faults - self._reported_faults
        self._reported_faults = Counter(faults)
        notice = Notice(RULE_FAILED, "Error", dict(fresh), failed_text(fresh, self.detector.first_errors))
        cause = Cause("", K8S_AUDIT, received, (K8S_AUDIT, position[1], position[2]))
        return [message_of(notice_of(cause, notice, appended=received))]
