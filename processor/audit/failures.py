"""Reports rules on events that are JSON that raised, as notices, which correlation sums."""

from collections import Counter

from processor.audit.detector import AuditDetector
from processor.correlation.notices import notice_of
from processor.correlation.pre_match import Notice, PreMatch
from processor.detection.internal_alerts import RULE_FAILED, Cause
from processor.detection.stage import failed_text
from schemas.catalogue.sources import K8S_AUDIT


class RuleFailures:
    """What was reported so far."""

    def __init__(self) -> None:
        self._reported: Counter[str] = Counter()

    def forget(self) -> None:
        """Count from the beginning: other rules are evaluated."""
        self._reported = Counter()

    def fresh(self, detector: AuditDetector, received: int, position: tuple[int, int]) -> list[PreMatch]:
        """Return the notice about rules that raised since the last call; none if none did.

        Args:
            detector: the rules.
            received: when the newest event was received, ns since the epoch.
            position: identifies the event: where events come from in order, and its number there.
        """
        if detector.faults == self._reported:
            return []
        fresh = detector.faults - self._reported
        self._reported = Counter(detector.faults)
        notice = Notice(RULE_FAILED, "Error", dict(fresh), failed_text(fresh, detector.first_errors))
        return [notice_of(Cause("", K8S_AUDIT, received, (K8S_AUDIT, *position)), notice, appended=received)]
