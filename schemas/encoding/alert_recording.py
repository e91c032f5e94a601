"""Reads recordings of alerts; collectors, which never do, don't load this."""

from collections.abc import Iterator
from pathlib import Path

from schemas.alert import ALERT_FORMAT, Alert, BadAlert, decode_alert
from schemas.codec import BadBatch
from schemas.encoding.recording import read_blocks
from schemas.encoding.wire import UnreadableMessage


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
