"""Evaluates messages that hold events of JSON. Pure: no message can make it raise."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from bus.messages.clock_offset import append_time
from processor.audit.detector import AuditDetector
from processor.audit.events import BadAuditEvent, read_event, read_events
from processor.audit.failures import RuleFailures, refused, truncated
from processor.correlation.wire import message_of
from processor.fields.audit.event_fields import AuditFields
from processor.fields.audit.source import JsonSource
from processor.fleet.message_stage import MessageResult
from processor.sessions.reading import session_record
from processor.sessions.records import encode_session
from schemas.alert import Alert
from schemas.catalogue.sources import K8S_AUDIT


class AuditStage:
    """Evaluates one message after the other."""

    def __init__(self, detector: AuditDetector, sources: Mapping[str, JsonSource] = MappingProxyType({})) -> None:
        """Take the compiled rules.

        Args:
            detector: the rules on events that are JSON.
            sources: by topic, the source of its events; other messages are Kubernetes audit events.
        """
        self.detector = detector
        self.sources = sources
        self.events = 0
        """Events evaluated, by these rules and the former ones."""
        self.refused = 0
        """Events that could not be read, and messages of other sources that hold one."""
        self.truncated = 0
        """Events of those evaluated of which parts are missing."""
        self._failures = RuleFailures()

    def change_rules(self, detector: AuditDetector) -> None:
        """Evaluate other rules from the next event on."""
        self.detector = detector
        self._failures.forget()

    def take(
        self, value: bytes | None, position: tuple[str, int, int], appended: int, sent: int | None = None
    ) -> MessageResult:
        """Evaluate one message.

        Args:
            value: the message: audit events as JSON, one a line, or a document of the source that its topic has.
            position: topic, partition, offset.
            appended: when the broker appended it, ms.
            sent: the message's timestamp, ms: the time of events that state none, the same however often it is read.
        """
        received = append_time(appended)
        source = self.sources.get(position[0])
        before = self.events
        faults: list[str] = []
        alerts: list[Alert] = []
        pre_matches: list[tuple[bytes, bytes]] = []
        sessions: list[tuple[bytes, bytes]] = []
        documents = [value or b""] if source is not None else lines_of(value or b"")
        for number, document in enumerate(documents, 1):
            try:
                for event in self._events(document, received, source, sent):
                    self.events += 1
                    self.truncated += bool(event.truncated)
                    alerts += self.detector.process(event)
                    found = self.detector.pre_matches(event, received) + truncated(event, received)
                    pre_matches += map(message_of, found)
                    if (record := session_record(event)) is not None:
                        sessions.append(encode_session(record))
            except BadAuditEvent as error:
                self.refused += 1
                faults.append(f"line {number}: {error}" if len(documents) > 1 else str(error))
        pre_matches += map(message_of, self._failures.fresh(self.detector, received, position[1:]))
        reason = ""
        if faults:
            kind, name = (
                ("an audit event", K8S_AUDIT) if source is None else (f"an event of {source.name}", source.name)
            )
            pre_matches.append(message_of(refused(name, len(faults), faults[0], position, received)))
            reason = f"not {kind}: {'; '.join(faults)}"
        return MessageResult(tuple(alerts), tuple(pre_matches), tuple(sessions), reason, self.events - before)

    def _events(
        self, value: bytes, received: int, source: JsonSource | None, sent: int | None
    ) -> Iterable[AuditFields]:
        if source is None:
            return (read_event(value, self.events, received),)
        stated = None if sent is None else append_time(sent)
        return read_events(value, self.events, received, source, stated)


def lines_of(value: bytes) -> list[bytes]:
    """Return the lines of a message that holds audit events; at least one."""
    return [line for line in value.split(b"\n") if line.strip()] or [b""]
