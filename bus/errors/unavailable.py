"""What can go wrong with a broker, in words for people; imports no client, so that every command can catch it."""

import math

from schemas.errors import LannerError

_LONGEST_FAULT = 300


def fault_text(error: BaseException) -> str:
    """Return a failure in one line for people, bounded: its message may quote what a host sent."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_FAULT]


class BusUnavailable(LannerError):
    """The broker can't be used as things are."""

    def __init__(self, reason: str, remedy: str, *, patience: float = math.inf) -> None:
        """Describe the trouble.

        Args:
            reason: what is wrong; without a full stop.
            remedy: what to do about it; without a full stop.
            patience: seconds for which it is worth waiting that this goes by itself; 0 where only a person can mend it.
        """
        self.reason = reason
        self.remedy = remedy
        self.patience = patience
        super().__init__(f"{reason}: {remedy}")
