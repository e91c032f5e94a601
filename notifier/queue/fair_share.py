"""Shares of a full queue: waiting alerts by rule, weighted by the rule's priority. Pure."""

_MAX_RULES = 1000
"""Rules counted separately. Names from the intake are untrusted and may be made up."""
OTHERS = ""
"""The common share of all other rules."""


class FairShares:
    """Counts waiting alerts by rule."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._severities: dict[str, int] = {}

    def name_of(self, rule: str) -> str:
        """Return the share that an alert of a rule belongs to."""
        return rule if rule in self._counts or len(self._counts) < _MAX_RULES else OTHERS

    def add(self, share: str, severity: int, count: int = 1) -> None:
        """Count alerts that were queued. severity: 0 (emergency) to 7 (debug)."""
        self._counts[share] = self._counts.get(share, 0) + count
        self._severities[share] = max(severity, self._severities.get(share, 0))

    def remove(self, share: str) -> None:
        """Count an alert that left the queue."""
        left = self._counts.get(share, 0) - 1
        if left > 0:
            self._counts[share] = left
        else:
            self._counts.pop(share, None)
            self._severities.pop(share, None)

    def largest_with(self, share: str, severity: int) -> str:
        """Return the share that is largest with one more alert in share; ties go to another share.

        An emergency weighs one and a debug message eight, so rules of higher severity may have more waiting.
        """
        own = (self._counts.get(share, 0) + 1) * (max(severity, self._severities.get(share, 0)) + 1)
        largest, size = share, own
        for name, count in self._counts.items():
            weight = count * (self._severities[name] + 1)
            if name != share and weight >= size:
                largest, size = name, weight
        return largest
