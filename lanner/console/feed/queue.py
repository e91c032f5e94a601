"""The alerts of this process, on their way from the thread that detects to the thread that writes the view."""

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from schemas.alert import Alert, BadAlert, decode_alert, encode_alert

MAX_WAITING = 20_000
MAX_BATCH = 500


class LocalAlerts:
    """Takes alerts without waiting. If nothing empties it, the oldest are dropped and counted."""

    def __init__(self, earlier: Iterable[Alert] = ()) -> None:
        """Begin with earlier alerts, which are read as the view takes them."""
        self.dropped = 0
        self._earlier = iter(earlier)
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._changed = threading.Condition()

    def put(self, alert: Alert) -> None:
        """Add an alert."""
        with self._changed:
            self.dropped += len(self._waiting) == MAX_WAITING
            # Encoded, it holds no undecodable text, as an alert of the topic.
            self._waiting.append(encode_alert(alert))
            self._changed.notify()

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds."""
        earlier = list(islice(self._earlier, MAX_BATCH))
        if earlier:
            return earlier
        with self._changed:
            if not self._waiting:
                self._changed.wait(seconds)
            taken = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        return [alert for data in taken if (alert := _decoded(data)) is not None]

    def positions(self) -> Mapping[int, int]:
        """Return nothing: what was read before a restart is in the view or in the recording."""
        return {}

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return how many alerts wait."""
        return {("process", "0"): len(self._waiting)}

    def close(self) -> None:
        """Do nothing."""


def _decoded(data: bytes) -> Alert | None:
    try:
        return decode_alert(data)
    except BadAlert:
        return None
