"""The sessions of people that `lanner run` knows, stored in a file across restarts: a record in each line."""

import os
from pathlib import Path

from processor.sessions.records import encode_session
from processor.sessions.sessions import Sessions


class SessionsFile:
    """The file beside the state file."""

    def __init__(self, path: Path, sessions: Sessions) -> None:
        """Begin without reading.

        Args:
            path: of the state file.
            sessions: what is stored.
        """
        self._path = path.with_name(f"{path.name}.sessions")
        self._sessions = sessions
        self._saved = 0

    def load(self) -> None:
        """Add what the file holds; what can't be read is counted. Raises OSError."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            self._sessions.put(b"", line)
        self._saved = self._sessions.changes

    def save(self) -> None:
        """Write the file atomically if something has changed. Raises OSError."""
        if (changes := self._sessions.changes) == self._saved:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.writelines(encode_session(record)[1] + b"\n" for record in self._sessions.records())
        new.replace(self._path)
        self._saved = changes
