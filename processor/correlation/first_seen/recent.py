"""What detection has sent lately: the same value of the same group changes nothing, and isn't sent again.

Most events have a known value. The correlate stage stores its newest sighting to a part of the lookback, so that of the
events of one part, one is enough. One a minute is sent all the same: a value that was reset there is soon new again.
"""

from collections.abc import Iterable

from processor.correlation.first_seen.span import Span, seconds_of
from processor.correlation.plan.split import Plan
from processor.correlation.pre_match import Group

_PERIOD = 60
"""s."""
_MOST = 100_000
"""Values; if there are more, all are sent again."""

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
        self._sent: dict[SeenKey, tuple[int, int]] = {}

    def covers(self, key: SeenKey, appended: int) -> bool:
        """Return whether an event can be left out. appended: when the broker received it, ns; 0 if none did."""
        span = self._spans.get(key[0])
        return span is not None and appended > 0 and self._sent.get(key) == _period(span, appended)

    def mark(self, keys: Iterable[SeenKey], appended: int) -> None:
        """Note that events were sent."""
        for key in keys:
            span = self._spans.get(key[0])
            if span is not None and appended:
                if len(self._sent) >= _MOST:
                    self._sent.clear()
                self._sent[key] = _period(span, appended)


def _period(span: Span, appended: int) -> tuple[int, int]:
    second = seconds_of(appended)
    return second // span.part, second // _PERIOD
