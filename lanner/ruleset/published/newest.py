"""Stores the newest published version that a processor accepted, so that it refuses older ones after a restart.

Anyone who may write to the topic can publish an old version with its signature again. A running processor refuses it;
this file makes a starting one refuse it too.
"""

import json
import os
from pathlib import Path

from processor.fleet.rules.version import RulesInUse, RulesRefused
from schemas.records.published_rules import PublishedRules
from schemas.text.notes import OnNote

_MOST_BYTES = 4096


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
        self._on_note = on_note
        self._is_failing = False
        self._published, self._version = self._read()

    def accepted(self, fresh: RulesInUse) -> RulesInUse:
        """Return a compiled version and store it as the newest; close it if it is older than the newest.

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
            self._write(rules)
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

    def _write(self, rules: PublishedRules) -> None:
        text = json.dumps({"published": rules.published, "version": rules.version})
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
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
