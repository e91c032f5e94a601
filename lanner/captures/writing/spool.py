"""Collects batches in a recording beside a capture, until the capture can be written."""

import os
from collections.abc import Callable
from pathlib import Path

from lanner.captures.writing.writer import WrittenCapture, write_capture
from schemas.encoding.recording import RecordingWriter, read_recording

_SUFFIX = ".avro.part"


class CaptureSpool:
    """The batches of a capture that is not complete yet.

    Args:
        file: the capture; created at once, so that a missing folder or right shows before anything is recorded.

    Raises:
        OSError: a file can't be created.
    """

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(file.name + _SUFFIX)
        """The recording, which can be replayed if the capture can't be written."""
        self.file = file
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self.writer = RecordingWriter(self.path, level=1)
        """Takes the batches."""

    def finish(self, host_id: str = "", is_selected: Callable[[int], bool] = lambda _: True) -> WrittenCapture:
        """Write the capture, and delete the recording. Raises OSError.

        Args:
            host_id: the host whose events are written; empty for that of the first batch.
            is_selected: returns whether an event of a time is written, ns since the epoch.
        """
        self.writer.close()
        first = next(read_recording(self.path), None)
        host = host_id or ("" if first is None else first.host_id)
        written = write_capture(
            self.file, lambda: (each for each in read_recording(self.path) if each.host_id == host), is_selected
        )
        self.path.unlink()
        return written
