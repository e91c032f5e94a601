"""Reads the alerts of a recording."""

from collections.abc import Iterator
from pathlib import Path

from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.recorder.rolling.recording import ALERTS
from schemas.alert import ALERT_FORMAT, Alert, BadAlert, decode_alert
from schemas.codec import BadBatch
from schemas.encoding.recording import read_blocks
from schemas.encoding.wire import UnreadableMessage


def stored_alerts(path: Path) -> Iterator[Alert]:
    """Yield the alerts of a recording in order, oldest first.

    The last alert of a file may be truncated: the file is still being written, or its writer was killed.

    Args:
        path: the folder of a recording, or one file of alerts.

    Raises:
        BadInput: There is none, or it can't be read.
    """
    if path.is_file():
        try:
            yield from read_alerts(path)
        except BadAlert as error:
            raise BadInput(f"{error}.") from None
        return
    for file in sorted((path / ALERTS).glob("*.avro")):
        try:
            yield from read_alerts(file)
        except FileNotFoundError:
            # The recording continues: it was the oldest file.
            continue
        except BadAlert as error:
            note(f"{error}; continuing with the next file.")


def read_alerts(path: Path) -> Iterator[Alert]:
    """Yield the alerts of a file in order, whichever release wrote it.

    Raises:
        OSError: the file can't be read.
        BadAlert: the file does not hold alerts, or one is damaged; the alerts before it are valid.
    """
    try:
        for schema, datum in read_blocks(path, ALERT_FORMAT, "alerts"):
            yield decode_alert(ALERT_FORMAT.translated(datum, schema))
    except (BadBatch, UnreadableMessage) as error:
        raise BadAlert(str(error)) from None
