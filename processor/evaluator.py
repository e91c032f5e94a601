"""Runs both stages in one process."""

from processor.correlation.correlator import Correlator
from processor.correlation.state import room_notices
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset, DetectStage
from processor.detection.view import BatchView, view_of
from processor.fields.json.documents import Document
from processor.matching.pre_match import PreMatch
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch


class Evaluator:
    """Both stages in one process: for one host, for replay and for rule tests."""

    def __init__(
        self, rules: CompiledRuleset, repeats: RepeatedAlerts | None = None, sessions: Sessions | None = None
    ) -> None:
        """Begin with no window state.

        Args:
            rules: the active rules.
            repeats: decides which alerts repeat others; None to return all.
            sessions: names people in alerts; None to name nobody.
        """
        self.rules = rules
        """The active rules."""
        self._stage = DetectStage(rules, repeats, sessions)
        self.repeats = self._stage.repeats
        """Decides which alerts repeat others."""
        self.lost = self._stage.lost
        """Losses that batches reported, by reason."""
        self.add_observer = self._stage.add_observer
        self._hostname = ""
        self._newest = 0
        self.correlator = Correlator(rules.plan)

    def process(self, events: EventBatch | Document, now: int | None = None) -> list[Alert]:
        """Evaluate the events of a batch, or a document; alerts that one event decides come first.

        Args:
            events: a validated batch, or a document.
            now: when they arrived, ns since the epoch; None if events are the clock.
        """
        view = view_of(events, now or 0)
        pre_matches: list[PreMatch] = []
        found = self._stage.evaluate(view, pre_matches.append)
        if isinstance(events, Document):
            pre_matches += view.notices(() if now is None else self._stage.notices(view))
        if pre_matches:
            found += self.correlator.process(pre_matches, now)
        return found

    def report(self, batch: EventBatch, now: int) -> list[Alert]:
        """Return the internal alerts that are due after a batch was processed: losses, and rules that raised.

        Args:
            batch: the batch.
            now: when it arrived, ns since the epoch.
        """
        self._hostname = batch.hostname
        view = BatchView(batch)
        notices = view.notices(self._stage.notices(view))
        return self.correlator.process(notices, now) if notices else []

    def advance_to(self, now: int) -> list[Alert]:
        """Close the periods that are over, and report groups that were evicted. now: ns since the epoch."""
        found = self.correlator.tick(now)
        notices = list(room_notices(self.correlator.state, now, ("", now, 0), hostname=self._hostname))
        return found + self.correlator.process(notices, now) if notices else found

    def replay(self, events: EventBatch | Document) -> list[Alert]:
        """Evaluate a recorded batch or document, whose events are the clock."""
        found = self.process(events)
        times = (events.time,) if isinstance(events, Document) else events.columns["time"]
        if times:
            # Batches of several hosts overlap; that does not mean that a clock was set back.
            self._newest = max(self._newest, *times)
            found += self.correlator.tick(self._newest)
        return found

    def change_rules(self, rules: CompiledRuleset) -> None:
        """Evaluate other rules from now on; unchanged stateful macros keep their windows."""
        self.rules = rules
        self._stage.change_rules(rules)
        self.correlator.change_rules(rules.plan)
