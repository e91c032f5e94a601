"""What can go wrong with a broker, in words for people; imports no client, so that every command can catch it."""

_LONGEST_FAULT = 300


def fault_text(error: BaseException) -> str:
    """Return a failure in one line for people, bounded: its message may quote what a host sent."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_FAULT]


class BusUnavailable(Exception):
    """The broker can't be used as things are."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Take what is wrong, and what to do about it; both without a full stop."""
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}: {remedy}")
