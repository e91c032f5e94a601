"""Append times of messages, by the broker's clock: the only clock of a fleet that no host or processor controls."""

import time
from collections.abc import Callable
from typing import Any

from schemas.text.notes import OnNote

_LOG_APPEND_TIME = 1
"""Kafka's number for a timestamp of the broker's. Source: Kafka's record format, "timestampType"."""


class AppendTimes:
    """Reads append times from messages as Faust delivers them."""

    def __init__(self, on_note: OnNote, clock: Callable[[], int] = time.time_ns) -> None:
        """Start.

        Args:
            on_note: called once for each topic whose messages carry their sender's time.
            clock: this machine's, ns since the epoch.
        """
        self._on_note = on_note
        self._clock = clock
        self._unstamped: set[str] = set()

    def of(self, message: Any) -> int:
        """Return when a message was appended, ms since the epoch.

        A topic's setting is checked before a processor starts. Messages that were appended under another one carry the
        time that their sender chose; this machine's clock is used for them.
        """
        if message.timestamp_type == _LOG_APPEND_TIME:
            appended: int = round(message.timestamp * 1000)
            return appended
        if message.topic not in self._unstamped:
            self._unstamped.add(message.topic)
            self._on_note(
                f"topic {message.topic} holds messages without a broker timestamp: their sender's time is "
                "not trusted, and this machine's clock is used. message.timestamp.type must be LogAppendTime.",
                "warning",
            )
        return self._clock() // 1_000_000
