"""Follows the topic of pushdown filters: what the live rule versions of the fleet require a collector to send.

Until the topic has been read, and while it is empty, this host's own rule files decide. The last state is stored on
disk for restarts.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from bus.topics import PUSHDOWN_FILTERS
from collector.pushdown import CollectionPlan, collection_plan
from foundation.files import write_atomically
from foundation.text import OnNote
from schemas.filter import PushdownFilter

_MAX_STORED = 64 << 20
_MAX_VERSIONS = 16
"""More than those beyond which everything is sent."""
_OTHERS = b"others"


class FilterFollower:
    """Follows the topic; poll often."""

    def __init__(
        self,
        connection: Connection,
        own: PushdownFilter,
        always_sent: Iterable[str],
        *,
        state_file: Path,
        on_note: OnNote,
    ) -> None:
        """Start from the stored state; the broker need not be available.

        Args:
            connection: the broker.
            own: filter of this host's rule files.
            always_sent: event types.
            state_file: file that stores the last state.
            on_note: receives messages for the operator.

        Raises:
            BusUnavailable: the broker's settings are invalid.
        """
        self._own = own
        self._always = tuple(always_sent)
        self._state_file = state_file
        self._on_note = on_note
        self._follower = CompactedTopicReader(connection, [PUSHDOWN_FILTERS])
        self._read: dict[bytes, bytes] = {}
        self._entries = _read_stored(state_file)
        self._reported_error = ""
        self.plan = collection_plan(self._entries, own, self._always)
        """The plan to collect by now."""

    def poll(self) -> CollectionPlan | None:
        """Take in new messages; return what to send if it has changed."""
        while (taken := self._follower.poll(0)) is not None:
            key, value = taken[1].key() or b"", taken[1].value()
            if value is None:
                self._read.pop(key, None)
            elif key in self._read or len(self._read) < _MAX_VERSIONS:
                self._read[key] = value
            else:
                # Which versions there are is no longer known, so everything is sent.
                self._read[_OTHERS] = b""
        self._report_errors()
        if not self._follower.has_read_all or self._read == self._entries:
            return None
        self._entries = dict(self._read)
        self._store()
        before, self.plan = self.plan, collection_plan(self._entries, self._own, self._always)
        return self.plan if self.plan != before else None

    def close(self) -> None:
        """Disconnect from the broker."""
        self._follower.close()

    def _report_errors(self) -> None:
        # The publisher reports a broker that is unavailable.
        last_error = self._follower.last_error if self._follower.is_shut_out else ""
        if last_error and last_error != self._reported_error:
            source = "the versions read last" if self._entries else "this host's rule files"
            self._on_note(f"the published rules' filter can't be read ({last_error}): using {source} instead.")
        self._reported_error = last_error

    def _store(self) -> None:
        text = json.dumps({key.decode("latin-1"): value.decode("latin-1") for key, value in self._entries.items()})
        try:
            write_atomically(self._state_file, [text.encode()])
        except OSError as error:
            self._on_note(
                f"{self._state_file}: can't be written: {error.strerror}; after a restart this host's rule files are "
                "used until the topic has been read."
            )


def _read_stored(path: Path) -> dict[bytes, bytes]:
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.read(_MAX_STORED))
        return {key.encode("latin-1"): value.encode("latin-1") for key, value in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        # Missing, or truncated by a full disk: the topic has the state.
        return {}
