"""Who has how much of a line that is full: what waits, by rule, measured by the rule's priority. Pure."""

_MOST = 1000
"""Rules that are told apart; names that come by the intake are a stranger's, who may make them up."""
OTHERS = ""
"""The share of all other rules together."""


class FairShares:
    """Counts what waits."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._severities: dict[str, int] = {}

    def name_of(self, rule: str) -> str:
        """Return the share that an alert of a rule belongs to."""
        return rule if rule in self._counts or len(self._counts) < _MOST else OTHERS

    def add(self, share: str, severity: int, count: int = 1) -> None:
        """Take note of alerts that wait from now on. severity: from 0, emergency, to 7, debug."""
        self._counts[share] = self._counts.get(share, 0) + count
        self._severities[share] = max(severity, self._severities.get(share, 0))

    def remove(self, share: str) -> None:
        """Take note of an alert that waits no longer."""
        left = self._counts.get(share, 0) - 1
        if left > 0:
            self._counts[share] = left
        else:
            self._counts.pop(share, None)
            self._severities.pop(share, None)

    def largest_with(self, share: str, severity: int) -> str:
        """Return the largest share if one more alert came; of several, one that is there already.

        An emergency weighs one, a debug message eight: graver rules may have more waiting.
        """
        own = (self._counts.get(share, 0) + 1) * (max(severity, self._severities.get(share, 0)) + 1)
        largest, size = share, own
        for name, count in self._counts.items():
            weight = count * (self._severities[name] + 1)
            if name != share and weight >= size:
                largest, size = name, weight
        return largest
