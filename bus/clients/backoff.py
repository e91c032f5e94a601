"""How the waits between attempts grow; pure: time and chance are arguments."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How waiting grows, in seconds; jitter keeps a fleet from coming back all at once."""

    first: float = 1.0
    factor: float = 2.0
    most: float = 60.0
    jitter: float = 0.5
    """Share of the wait that is drawn at random."""
    most_asked: float = 900.0
    """However long a far end asks to wait: a wrong Retry-After must not silence a sink for a day."""

    def seconds(self, failures: int, asked: float | None, draw: float) -> float:
        """Return the wait after so many failures in a row.

        Args:
            failures: at least 1.
            asked: what the far end asked for; never undercut, the jitter comes on top.
            draw: a random number from 0 to 1.
        """
        # The exponent is bounded, since a float overflows after a thousand failures.
        wait = min(self.most, self.first * self.factor ** min(failures - 1, 32))
        if asked is not None:
            return min(asked, self.most_asked) + self.first * self.jitter * draw
        return wait * (1 - self.jitter) + wait * self.jitter * draw
