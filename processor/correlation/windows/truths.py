"""Which stateful macros are true for an event, and whether a term that combines them holds."""

from processor.correlation.plan.split import Term
from processor.correlation.windows.outcome import Fired, UpdateOutcome

Truths = dict[str, Fired | UpdateOutcome | None]
"""By fingerprint, for the stateful macros that an event reached: the window if it is true, None if it is false, and the
reason if the window rejected the event; then neither the macro nor its negation is true."""


def holds(term: Term, truths: Truths) -> bool:
    """Return whether the macros that a term needs are true, and those that it forbids are false."""
    return all(isinstance(truths.get(name), Fired) for name in term.needs) and all(
        truths.get(name) is None for name in term.forbids
    )


def unmet_repeats(term: Term, truths: Truths) -> int:
    """Return how many of an event's repeats came before all macros that a term needs were true."""
    return max((fired.unmet for name in term.needs if isinstance(fired := truths[name], Fired)), default=0)
