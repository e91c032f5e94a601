"""Stores the newest published version that a processor accepted, so that it runs this or a later one after a restart.

Anyone with the right to write to the topic can publish an old version with its signature again, or replace the newest
one by something else. A running processor refuses that; these files make a starting one refuse it too.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.messages.published_rules import SIGNATURE
from bus.topics import MAX_MESSAGE_BYTES
from processor.fleet.rules.version import RulesInUse, RulesRefused
from schemas.text.notes import OnNote

_MOST_BYTES = 4096
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A signed version from the disk, as a message of the topic."""

    data: bytes

    def value(self) -> bytes:
        """Return its bytes."""
        return self.data[_SIGNATURE_BYTES:]

    def headers(self) -> list[tuple[str, bytes]]:
        """Return its signature."""
        return [(SIGNATURE, self.data[:_SIGNATURE_BYTES])]

    def offset(self) -> int:
        """Return that it comes before all in the topic."""
        return -1


class OlderRules(RulesRefused):
    """A version is older than one that this processor accepted."""


class NewestRules:
    """Stores the name and publication time of the newest version."""

    def __init__(self, path: Path, on_note: OnNote) -> None:
        """Read the file.

        Args:
            path: the file; it need not exist.
            on_note: receives a message if the file can't be used.
        """
        self._path = path
        self._version_path = path.with_suffix(".rules")
        self._on_note = on_note
        self._is_failing = False
        self._published, self._version = self._read()

    def stored(self) -> StoredVersion | None:
        """Return the newest version; None if it isn't on the disk."""
        try:
            with self._version_path.open("rb") as file:
                data = file.read(MAX_MESSAGE_BYTES)
        except OSError:
            return None
        return StoredVersion(data) if len(data) > _SIGNATURE_BYTES else None

    def accepted(self, fresh: RulesInUse, message: Any) -> RulesInUse:
        """Return a compiled version and store it as the newest; close it if it is older than the newest.

        Args:
            fresh: the version.
            message: of the topic, with the version and its signature.

        Raises:
            OlderRules: It is older.
        """
        rules = fresh.published
        if rules is None:
            return fresh
        if rules.published < self._published:
            fresh.close()
            raise OlderRules(
                f"version {rules.version} is older than {self._version}, which this processor already accepted; "
                "publish its files again to go back"
            )
        if rules.published > self._published:
            self._published, self._version = rules.published, rules.version
            text = json.dumps({"published": rules.published, "version": rules.version})
            # The version first: with the other file alone, there would be none to run.
            signature = dict(message.headers() or ()).get(SIGNATURE, b"")
            self._write(self._version_path, signature + (message.value() or b""))
            self._write(self._path, text.encode())
        return fresh

    def _read(self) -> tuple[int, str]:
        try:
            with self._path.open(encoding="utf-8") as file:
                row = json.loads(file.read(_MOST_BYTES))
            return int(row["published"]), str(row["version"])
        except FileNotFoundError:
            return 0, ""
        except OSError as error:
            self._report(error.strerror or str(error))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._report("has invalid content")
        return 0, ""

    def _write(self, path: Path, content: bytes) -> None:
        new = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            self._report(error.strerror or str(error))

    def _report(self, why: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._on_note(
                f"published_rules.state_dir: {self._path}: {why}; after a restart, an old version that is "
                "published again will be accepted.",
                "warning",
            )
