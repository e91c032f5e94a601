"""What the versions of rules that are alive in the fleet ask a collector to send, from the topic of interest.

Until the topic was read, and where it holds nothing, this host's own rule files decide; over a restart the last that
was read is kept on disk.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from bus.clients.compacted import CompactedTopicReader
from bus.connection import Connection
from bus.topics import INTEREST
from collector.pushdown.plan import CollectionPlan, wanted
from schemas.filter import PushdownFilter

_MAX_KEPT = 64 << 20


class FilterFollower:
    """Follows the topic; poll often."""

    def __init__(
        self,
        connection: Connection,
        own: PushdownFilter,
        always_sent: Iterable[str],
        *,
        kept: Path,
        on_note: Callable[[str], None],
    ) -> None:
        """Begin with what was kept; the broker need not be there.

        Args:
            connection: the broker.
            own: of this host's rule files.
            always_sent: event types.
            kept: the file that holds what was read last.
            on_note: told of what an operator should know.

        Raises:
            BusUnavailable: the settings of the broker can't be used.
        """
        self._own = own
        self._always = tuple(always_sent)
        self._kept = kept
        self._on_note = on_note
        self._follower = CompactedTopicReader(connection, [INTEREST])
        self._read: dict[bytes, bytes] = {}
        self._entries = _read_kept(kept)
        self._trouble = ""
        self.wanted = wanted(self._entries, own, self._always)
        """What is to be sent now."""

    def poll(self) -> CollectionPlan | None:
        """Take in what the broker has; give what is to be sent where that has changed."""
        while (taken := self._follower.poll(0)) is not None:
            key, value = taken[1].key() or b"", taken[1].value()
            if value is None:
                self._read.pop(key, None)
            else:
                self._read[key] = value
        self._tell_trouble()
        if not self._follower.has_read_all or self._read == self._entries:
            return None
        self._entries = dict(self._read)
        self._keep()
        before, self.wanted = self.wanted, wanted(self._entries, self._own, self._always)
        return self.wanted if self.wanted != before else None

    def close(self) -> None:
        """Let go of the broker."""
        self._follower.close()

    def _tell_trouble(self) -> None:
        # A broker that is away is the publisher's to tell.
        trouble = self._follower.trouble if self._follower.is_shut_out else ""
        if trouble and trouble != self._trouble:
            source = "the versions read last" if self._entries else "this host's rule files"
            self._on_note(f"what published rules ask for can't be read ({trouble}): {source} decide what is sent.")
        self._trouble = trouble

    def _keep(self) -> None:
        text = json.dumps({key.decode("latin-1"): value.decode("latin-1") for key, value in self._entries.items()})
        new = self._kept.with_name(f"{self._kept.name}.new")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(self._kept)
        except OSError as error:
            self._on_note(f"{self._kept}: can't be written: {error.strerror}; a restart begins with the rule files.")


def _read_kept(path: Path) -> dict[bytes, bytes]:
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.read(_MAX_KEPT))
        return {key.encode("latin-1"): value.encode("latin-1") for key, value in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        # Not there, or cut off by a full disk: the topic has it.
        return {}
