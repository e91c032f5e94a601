"""What detection has sent lately: the same value of the same group changes nothing, and isn't sent again.

Most events have a known value. The correlate stage stores its newest sighting to a part of the lookback, so that of the
events of one part, one is enough. One a minute is sent all the same: a value that was reset there is soon new again.
And several hosts, containers or users send it: nobody for whose values there is no room hides that others have it.
"""

from collections.abc import Iterable

from processor.correlation.first_seen.span import Span, seconds_of
from processor.correlation.plan.split import Plan
from processor.correlation.pre_match import Group

_PERIOD = 60
"""s."""
_MOST = 100_000
"""Values; if there are more, all are sent again."""
_WITNESSES = 4
"""Hosts, containers and users that send a value in one minute."""

SeenKey = tuple[str, Group, str]
"""Fingerprint of the macro, group, and value."""


class RecentlySent:
    """The values of one process. A message that was sent is there, or its process ends and others repeat its batch."""

    def __init__(self, plan: Plan) -> None:
        """Begin with none.

        Macros are left out whose negation matters, since it is true for some known values, and those that themselves
        depend on windows, since not each event that is sent is then seen.
        """
        terms = [term for leg in plan.legs for term in leg.terms] + [term for rule in plan.rules for term in rule.terms]
        negated = frozenset[str]().union(*(term.forbids for term in terms))
        self._spans = {
            macro.fingerprint: Span.of(macro.correlation.timespan, macro.correlation.learning)
            for macro in plan.macros
            if macro.correlation.type == "first_seen"
            and macro.fingerprint not in negated
            and not any(term.needs or term.forbids for leg in macro.legs for term in leg.terms)
        }
        self._sent: dict[SeenKey, tuple[tuple[int, int], tuple[int, ...]]] = {}
        """By value: the newest minute, and the shares of those who sent it then."""

    def covers(self, key: SeenKey, share: int, appended: int) -> bool:
        """Return whether an event can be left out.

        Args:
            key: of its value.
            share: of who brings it.
            appended: when the broker received it, ns; 0 if none did.
        """
        span = self._spans.get(key[0])
        if span is None or not appended:
            return False
        minute, shares = self._sent.get(key, ((0, 0), ()))
        return (share in shares or len(shares) >= _WITNESSES) and minute == _period(span, appended)

    def mark(self, sent: Iterable[tuple[SeenKey, int]], appended: int) -> None:
        """Note that events were sent. sent: the keys of their values, each with the share of who brings it."""
        for key, share in sent:
            span = self._spans.get(key[0])
            if span is not None and appended:
                if len(self._sent) >= _MOST:
                    self._sent.clear()
                period = _period(span, appended)
                minute, shares = self._sent.get(key, (period, ()))
                self._sent[key] = (period, (*shares, share) if minute == period else (share,))

    def forget(self, keys: Iterable[SeenKey]) -> None:
        """Note that events were not sent after all."""
        for key in keys:
            self._sent.pop(key, None)


def _period(span: Span, appended: int) -> tuple[int, int]:
    second = seconds_of(appended)
    return second // span.part, second // _PERIOD
