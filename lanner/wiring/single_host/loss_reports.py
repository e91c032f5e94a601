"""How often Lanner speaks of its own troubles: at once, then at most once in a while with the sum."""

from collections.abc import Mapping

QUIET_SECONDS = 300.0


class LossReporter:
    """Turns growing counts of losses into few reports in which nothing is missing."""

    def __init__(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._quiet = quiet_seconds
        self._told: dict[str, int] = {}
        self._next = float("-inf")

    def due(self, totals: Mapping[str, int], now: float, *, final: bool = False) -> dict[str, int]:
        """Give the losses since the last report, by reason; empty while there are none or it is too early.

        totals only grow; now is any clock that does, in seconds. final asks for what is left, however early it is.
        """
        if now < self._next and not final:
            return {}
        fresh = {
            reason: number - self._told.get(reason, 0)
            for reason, number in totals.items()
            if number > self._told.get(reason, 0)
        }
        if fresh:
            self._told = dict(totals)
            self._next = now + self._quiet
        return fresh
