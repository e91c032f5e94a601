"""The exception for an unavailable broker. Imports no client library, so that every command can catch it."""

import math

from schemas.errors import LannerError

_LONGEST_FAULT = 300


def fault_text(error: BaseException) -> str:
    """Return a short description of a failure; its message may quote what a host sent, so it is clipped."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_FAULT]


class BusUnavailable(LannerError):
    """The broker can't be used."""

    def __init__(self, reason: str, remedy: str, *, patience: float = math.inf) -> None:
        """Create the error.

        Args:
            reason: what is wrong, without a period.
            remedy: what to do about it, without a period.
            patience: how long retrying may help, seconds; 0 if only a person can fix it.
        """
        self.reason = reason
        self.remedy = remedy
        self.patience = patience
        super().__init__(f"{reason}: {remedy}")
