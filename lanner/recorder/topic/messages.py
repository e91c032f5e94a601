"""Messages of topics as this release writes them, for commands that look at what was kept."""

from collections.abc import Callable
from typing import Any

from bus.connection import Connection
from schemas.alert import ALERT_FORMAT
from schemas.codec import EVENT_BATCH_FORMAT


def reader_of_values(connection: Connection) -> Callable[[Any], bytes]:
    """Give a function from a message to its value, translated where another release, or by a registry, wrote it.

    Raises:
        BusUnavailable: the registry's settings can't be used; later, a schema can't be had.
    """
    from bus.schema_registry.writer_schemas import WriterSchemas  # noqa: PLC0415  needs the broker's client

    schemas = WriterSchemas(connection, (ALERT_FORMAT, EVENT_BATCH_FORMAT))
    return lambda message: schemas.translate(message.value() or b"")
