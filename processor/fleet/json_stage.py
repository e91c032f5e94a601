"""Evaluates messages that contain JSON events. Pure: no message can make it raise."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from bus.messages import append_time
from processor.detection.budget import LIMITS, Budget, BudgetLimits, OverBudget
from processor.detection.stage import DetectStage
from processor.detection.view import DocumentView
from processor.fields.json.documents import Document, JsonSource, read_event, read_events
from processor.fields.json.parsing import BadJsonEvent
from processor.fleet.message_stage import MessageResult
from processor.matching.packing import MESSAGES_PER_SECOND, PreMatchPacker
from processor.matching.pre_match import Notice, PreMatch, notice_of
from processor.matching.wire import message_of
from processor.output.internal_alerts import EVENT_REFUSED, OVER_BUDGET, Cause
from processor.sessions.records import encode_session, session_record
from schemas.catalog.fields import K8S_AUDIT


class JsonStage:
    """Evaluates one message after the other."""

    def __init__(
        self,
        detect: DetectStage,
        sources: Mapping[str, JsonSource] = MappingProxyType({}),
        messages_per_second: float = MESSAGES_PER_SECOND,
        *,
        limits: BudgetLimits = LIMITS,
    ) -> None:
        """Begin.

        Args:
            detect: evaluates events, those of batches as well.
            sources: by topic, the source of its events; other messages are Kubernetes audit events.
            messages_per_second: what a user may cause to stateful rules; 0 for no limits.
            limits: what the events of one message may cost together.
        """
        self._limits = limits
        self._detect = detect
        self.packer = PreMatchPacker(detect.rules.plan, messages_per_second)
        self.sources = sources
        self.events = 0
        """Events evaluated, by these rules and the former ones."""
        self.refused = 0
        """Events that could not be read, and messages of other sources that contain one."""
        self.truncated = 0
        """Events of those evaluated of which parts are missing."""

    def change_rules(self) -> None:
        """Take the plan of the rules that are evaluated from now on."""
        self.packer.change_rules(self._detect.rules.plan)

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
        budget = Budget(self._limits)
        repeats = self._detect.repeats.begin()
        found: list[PreMatch] = []
        sessions: list[tuple[bytes, bytes]] = []
        documents = [value or b""] if source is not None else lines_of(value or b"")
        try:
            for number, document in enumerate(documents, 1):
                try:
                    for event in self._events(document, received, source, sent):
                        self.events += 1
                        self.truncated += bool(event.truncated)
                        view = DocumentView(event, received, position)
                        self._detect.evaluate(view, found.append, budget, repeats=repeats)
                        budget.evaluated += 1
                        found += view.notices(self._detect.notices(view))
                        if (record := session_record(event)) is not None:
                            sessions.append(encode_session(record))
                except BadJsonEvent as error:
                    self.refused += 1
                    faults.append(f"line {number}: {error}" if len(documents) > 1 else str(error))
        except OverBudget:
            pass  # The budget knows why.
        found += repeats.pre_matches()
        packed, left_out = self.packer.pack(found, received, self._detect.rules.pre_matcher.forget_sent)
        if left_out is not None:
            packed.append(notice_of(Cause("", "", received, position), left_out, appended=received))
        kind, name = ("an audit event", K8S_AUDIT) if source is None else (f"an event of {source.name}", source.name)
        reason = ""
        if (costly := _over_budget(name, budget)) is not None:
            packed.append(notice_of(Cause("", name, received, position), costly, appended=received))
            reason = f"over budget: {budget.over}; {budget.evaluated} events were evaluated" if budget.over else ""
        if faults:
            packed.append(_refused(name, len(faults), faults[0], position, received))
            reason = f"not {kind}: {'; '.join(faults)}" + (f"; {reason}" if reason else "")
        pre_matches = tuple(map(message_of, packed))
        return MessageResult(tuple(budget.alerts), pre_matches, tuple(sessions), reason, self.events - before)

    def _events(self, value: bytes, received: int, source: JsonSource | None, sent: int | None) -> Iterable[Document]:
        if source is None:
            return (read_event(value, self.events, received),)
        stated = None if sent is None else append_time(sent)
        return read_events(value, self.events, received, source, stated)


def lines_of(value: bytes) -> list[bytes]:
    """Return the lines of a message that contains audit events; at least one."""
    return [line for line in value.split(b"\n") if line.strip()] or [b""]


def _over_budget(source: str, budget: Budget) -> Notice | None:
    if budget.over:
        text = f"a message of {source} cost too much: {budget.over}; it is in the dead letters"
        return Notice(OVER_BUDGET, "Warning", {"messages_not_evaluated": 1}, text)
    if budget.shortened:
        text = f"messages of {source} make so many bytes of alerts that some were shortened"
        return Notice(OVER_BUDGET, "Notice", {"alerts_shortened": budget.shortened}, text)
    return None


def _refused(source: str, number: int, reason: str, position: tuple[str, int, int], received: int) -> PreMatch:
    """Return the notice about events that can't be read. reason: of the first; received: ns since the epoch."""
    text = f"events of {source} can't be read and were not evaluated; they are in the dead letters: {reason}"
    notice = Notice(EVENT_REFUSED, "Warning", {source: number}, text)
    return notice_of(Cause("", source, received, position), notice, appended=received)
