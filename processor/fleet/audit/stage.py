"""Evaluates the messages of the topic of Kubernetes audit events. Pure: no message can make it raise."""

from bus.messages.clock_offset import append_time
from processor.audit.detector import AuditDetector
from processor.audit.events import BadAuditEvent, event_of, parse
from processor.audit.failures import RuleFailures
from processor.correlation.wire import message_of
from processor.fleet.message_stage import MessageResult


class AuditStage:
    """Evaluates one event after the other."""

    def __init__(self, detector: AuditDetector) -> None:
        """Take the compiled rules on audit events."""
        self.detector = detector
        self.events = 0
        """Events evaluated, by these rules and the former ones."""
        self.refused = 0
        """Messages that are not an audit event."""
        self._failures = RuleFailures()

    def change_rules(self, detector: AuditDetector) -> None:
        """Evaluate other rules from the next event on."""
        self.detector = detector
        self._failures.forget()

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
        failures = map(message_of, self._failures.fresh(self.detector, received, position[1:]))
        return MessageResult(tuple(alerts), (*pre_matches, *failures), events=1)
