"""A cache of writers' schemas, filled from the topic of schemas and from a registry."""

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from bus.clients.compacted import CompactedTopicReader
from bus.clients.errors import TIMEOUT_SECONDS
from bus.clients.schema_registry import Registry, schema_of_message
from bus.connection import BusUnavailable, Connection
from bus.topics import SCHEMAS
from foundation.caches import BoundedMap
from foundation.text import OnNote
from schemas.encoding.wire import (
    MARKER,
    REGISTRY_MARKER,
    BadSchema,
    MessageFormat,
    UnreadableMessage,
    WriterSchema,
    checked_schema,
    header_of,
)

_MAX_SCHEMAS = 1_000
_PATIENCE_SECONDS = 2.0
"""How long a schema may arrive after its first message, since they may be written to different brokers."""
_REFUSED_SECONDS = 30.0
"""How long to wait before looking up a missing schema again."""
_LOOKS = 5
"""How many failing lookups are allowed in a row; after that, one every _LOOK_SECONDS. A sender of made-up headers must
not delay everyone else's messages."""
_LOOK_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_POLL_SECONDS = 0.1
_LONGEST_REASON = 300


class WriterSchemas:
    """Schemas by their messages' header; each is fetched once. Thread-safe."""

    def __init__(self, connection: Connection, formats: Iterable[MessageFormat]) -> None:
        """Create a cache; does not connect.

        Args:
            connection: the broker and the registry.
            formats: the message formats that this process reads.

        Raises:
            BusUnavailable: the registry's settings can't be used.
        """
        self._connection = connection
        self.registry = Registry(connection.registry) if connection.registry else None
        self._formats = {each.name: each for each in formats}
        self._ours = {header for each in self._formats.values() for header in each.known}
        self._schemas: dict[bytes, WriterSchema] = {}
        self._refused: BoundedMap[bytes, float] = BoundedMap(_MAX_SCHEMAS)
        self._reasons: dict[bytes, str] = {}
        """By header: why the newest message could not be translated, or why its schema was rejected."""
        self._looks = float(_LOOKS)
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()

    def translate(self, data: bytes) -> bytes:
        """Return a message as this release would have written it; unchanged if that is not possible.

        May take a few seconds for the first message with a schema.

        Raises:
            BusUnavailable: its schema can't be fetched, because broker or registry don't answer.
        """
        header = header_of(data)
        if not header or header in self._ours or (writer := self._schema(header)) is None:
            return data
        kind = self._formats.get(writer.name)
        if kind is None:
            self._blame(header, f"it is a {writer.name}")
            return data
        try:
            return kind.translated(data[len(header) :], writer)
        except UnreadableMessage as error:
            # Decoding it fails later, and the caller then gets the reason from why_not.
            self._blame(header, str(error))
            return data

    def why_not(self, data: bytes) -> str:
        """Return why a message, or another one with its schema, was not translated; empty if unknown."""
        return self._reasons.get(header_of(data), "")

    def _blame(self, header: bytes, reason: str) -> None:
        if header in self._reasons or len(self._reasons) < _MAX_SCHEMAS:
            self._reasons[header] = reason[:_LONGEST_REASON]

    async def translated(self, data: bytes | None, on_note: OnNote) -> bytes:
        """Translate on an event loop; wait until broker and registry answer.

        Args:
            data: the message.
            on_note: receives each new reason for waiting.
        """
        given, reported = data or b"", ""
        header = header_of(given)
        if header in self._ours:
            return given
        while header and header not in self._schemas:
            try:
                return await asyncio.to_thread(self.translate, given)
            except BusUnavailable as error:
                if error.reason != reported:
                    reported = error.reason
                    on_note(f"{error}. Until then messages wait.")
                await asyncio.sleep(_RETRY_SECONDS)
        return self.translate(given)

    def _schema(self, header: bytes) -> WriterSchema | None:
        found = self._schemas.get(header)
        if found is not None:
            return found
        with self._lock:
            if header in self._schemas:
                return self._schemas[header]
            if (self._refused.get(header) or 0.0) > time.monotonic() or not self._may_look():
                return None
            if header.startswith(REGISTRY_MARKER):
                self._ask_registry(header)
            else:
                self._read_topic(header)
            found = self._schemas.get(header)
            if found is not None:
                self._looks = min(self._looks + 1, _LOOKS)
                return found
            self._refused.put(header, time.monotonic() + _REFUSED_SECONDS)
            return None

    def _may_look(self) -> bool:
        now = time.monotonic()
        self._looks = min(_LOOKS, self._looks + (now - self._looked_at) / _LOOK_SECONDS)
        self._looked_at = now
        if self._looks < 1:
            return False
        self._looks -= 1
        return True

    def _ask_registry(self, header: bytes) -> None:
        if self.registry is None:
            return
        text = self.registry.schema(int.from_bytes(header[len(REGISTRY_MARKER) :], "big"))
        if text is not None:
            try:
                self._store(header, checked_schema(text))
            except BadSchema as error:
                self._blame(header, f"its schema was rejected: {error}")

    def _read_topic(self, header: bytes) -> None:
        follower = CompactedTopicReader(self._connection, [SCHEMAS])
        begun = time.monotonic()
        try:
            while header not in self._schemas:
                taken = follower.poll(_POLL_SECONDS)
                if taken is not None:
                    self._take(taken[1].key() or b"", taken[1].value() or b"")
                waited = time.monotonic() - begun
                if follower.has_read_all and waited > _PATIENCE_SECONDS:
                    return
                if waited > TIMEOUT_SECONDS or follower.is_shut_out:
                    raise follower.unavailable()
        finally:
            follower.close()

    def _take(self, key: bytes, value: bytes) -> None:
        try:
            schema = schema_of_message(key, value)
        except BadSchema as error:
            # Nothing can be decoded with it; readers of its messages get the reason.
            with suppress(ValueError):
                self._blame(MARKER + bytes.fromhex(key.decode("ascii")), f"its schema was rejected: {error}")
        else:
            self._store(schema.header, schema)

    def _store(self, header: bytes, schema: WriterSchema) -> None:
        if len(self._schemas) < _MAX_SCHEMAS:
            self._schemas.setdefault(header, schema)
