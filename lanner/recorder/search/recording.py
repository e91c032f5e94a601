"""The events of a recording, file by file."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lanner.errors import BadInput
from lanner.recorder.batches import LOCK, StoredBatch, recordings
from lanner.recorder.search.events import EventPortion
from schemas.codec import BadBatch
from schemas.encoding.recording import read_recording
from schemas.text.times import date_and_time_seconds


class RecordingRange:
    """The batches of a recording that were made between two times."""

    def __init__(self, path: Path, since: int, until: int) -> None:
        """Find the files. Raises BadInput.

        Args:
            path: a recording, or a folder of them in the order of their names.
            since: ms since the epoch.
            until: likewise.
        """
        self.bytes = 0
        self.remarks: list[str] = []
        self._range = since, until
        self._files = [(file, _begin(file), _size(file)) for file in reversed(recordings((path,)))]
        self._total = sum(size for _, begin, size in self._files if begin is None or begin < until)

    @property
    def share(self) -> float:
        """How much of it has been read, from 0 to 1."""
        return min(self.bytes / self._total, 1.0) if self._total else 1.0

    def portions(self, stop: Callable[[], bool]) -> Iterator[EventPortion]:
        """Yield the files, newest first; stop is called between batches."""
        since, until = self._range
        oldest: int | None = None
        for file, begin, size in self._files:
            if begin is not None and begin >= until:
                continue
            yield EventPortion(max(begin or 0, since), self._batches(file, stop))
            self.bytes += size
            if begin is not None:
                oldest = begin if oldest is None else min(oldest, begin)
                if begin <= since and (file.parent / LOCK).exists():
                    # `lanner run` wrote them, in order: older ones end before this one begins.
                    return
        if oldest is not None and oldest > since > 0:
            self.remarks.append(f"The recording begins at {date_and_time_seconds(oldest * 1_000_000)}.")

    def close(self) -> None:
        """Do nothing."""

    def _batches(self, file: Path, stop: Callable[[], bool]) -> Iterator[StoredBatch]:
        since, until = self._range
        try:
            for batch in read_recording(file):
                if stop():
                    return
                made = batch.created // 1_000_000
                if since <= made < until:
                    yield StoredBatch(batch, made)
        except FileNotFoundError:
            # The recording continues: it was the oldest file.
            return
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror}.") from None
        except BadBatch as error:
            # It may still be being written.
            self.remarks.append(f"{error}.")


def _begin(file: Path) -> int | None:
    """Return when the first batch of a file was made, ms; None if that is unknown."""
    with contextlib.suppress(OSError, BadBatch), contextlib.closing(read_recording(file)) as batches:
        first = next(batches, None)
        return None if first is None else first.created // 1_000_000
    return None


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0
