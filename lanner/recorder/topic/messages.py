"""Decodes messages of topics to this release's format, for commands that read retained messages."""

from collections.abc import Callable
from typing import Any

from bus.connection import Connection
from lanner.cli.terminal.output import note
from schemas.alert import ALERT_FORMAT, Alert, BadAlert, decode_alert
from schemas.codec import EVENT_BATCH_FORMAT


def reader_of_values(connection: Connection) -> Callable[[Any], bytes]:
    """Return a function from a message to its value, translated if another release or a registry's schema wrote it.

    Raises:
        BusUnavailable: The registry's settings are wrong; or, later, a schema is unavailable.
    """
    from bus.schema_registry.writer_schemas import WriterSchemas  # noqa: PLC0415  needs the broker's client

    schemas = WriterSchemas(connection, (ALERT_FORMAT, EVENT_BATCH_FORMAT))
    return lambda message: schemas.translate(message.value() or b"")


def reader_of_alerts(connection: Connection) -> Callable[[Any], Alert | None]:
    """Return a function from a message to its alert; None, after a note, if it is none. Raises BusUnavailable."""
    value = reader_of_values(connection)

    def read(message: Any) -> Alert | None:
        try:
            return decode_alert(value(message))
        except BadAlert as error:
            note(f"{message.topic()}[{message.partition()}] at {message.offset()}: {error}.")
            return None

    return read
