"""The schemas of writers: a cache, filled from the topic of schemas and from a registry with Confluent's API.

Registries are Confluent's own, Apicurio and Karapace.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from bus.clients.compacted import CompactedTopicReader
from bus.clients.errors import TIMEOUT_SECONDS
from bus.connection import BusUnavailable, Connection, RegistryAddress
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
    registry_header,
    single_object_header,
)

_TIMEOUT_SECONDS = 5.0
_REGISTRY_RETRY_SECONDS = 3.0
_NOT_FOUND = 404
_INCOMPATIBLE = 409
_CREDENTIALS = (401, 403)

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


class RegistryUnavailable(BusUnavailable):
    """The registry can't be used; callers wait for it."""


class Registry:
    """A client of one registry. Each call blocks for a few seconds at most. Thread-safe."""

    def __init__(self, address: RegistryAddress) -> None:
        """Create a client; does not connect. Raises RegistryUnavailable if library or settings can't be used."""
        try:
            from confluent_kafka.schema_registry import Schema, SchemaRegistryClient  # noqa: PLC0415  an optional extra
            from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415  as above
        except ImportError as error:
            raise RegistryUnavailable(
                f"the schema registry's client is not installed ({error})",
                "install what Lanner's extra `registry` names",
            ) from None
        self._address = address
        self._make: Callable[[str, str], Any] = Schema
        self._refusal: type[Exception] = SchemaRegistryError
        config: dict[str, Any] = {"url": address.url, "timeout": _TIMEOUT_SECONDS, "max.retries": 0}
        paths = ssl.get_default_verify_paths()
        if authorities := address.ca_file or paths.cafile or paths.capath:
            config["ssl.ca.location"] = authorities
        if address.username:
            config["basic.auth.user.info"] = f"{address.username}:{address.password}"
        try:
            self._client = SchemaRegistryClient(config)
        except (ValueError, OSError) as error:
            raise RegistryUnavailable(
                f"the schema registry's client can't be set up ({error})",
                "check kafka.schema_registry_url and kafka.schema_registry_ca_file",
            ) from None

    def register(self, topic: str, schema: dict[str, Any]) -> bytes:
        """Register a schema for a topic's values (subject TOPIC-value) unless it is registered already.

        Args:
            topic: full name.
            schema: schema of the topic's messages.

        Returns:
            The header of messages with this schema.

        Raises:
            RegistryUnavailable: the registry does not answer, or refuses.
        """
        text = json.dumps(schema, separators=(",", ":"))
        return registry_header(
            self._ask(lambda: self._client.register_schema(f"{topic}-value", self._make(text, "AVRO")))
        )

    def schema(self, number: int) -> str | None:
        """Return the schema with an id; None if there is none.

        Raises:
            RegistryUnavailable: the registry does not answer, or refuses.
        """
        try:
            found: str | None = self._ask(lambda: self._client.get_schema(number)).schema_str
        except _NotThere:
            return None
        return found

    def _ask(self, call: Callable[[], Any]) -> Any:
        url = self._address.url
        try:
            return call()
        except self._refusal as error:
            status, text = getattr(error, "http_status_code", 0), str(getattr(error, "error_message", error))[:300]
            if status == _NOT_FOUND:
                raise _NotThere(
                    f"the schema registry at {url} does not have it ({text})", "check its address"
                ) from None
            if status in _CREDENTIALS:
                remedy = "check kafka.schema_registry_username and kafka.schema_registry_password_file"
            elif status == _INCOMPATIBLE:
                remedy = "set the subject's compatibility to BACKWARD or less, or delete another program's schema there"
            else:
                remedy = "check kafka.schema_registry_url and the registry's log"
            raise RegistryUnavailable(f"the schema registry at {url} refuses ({status}: {text})", remedy) from None
        except Exception as error:  # noqa: BLE001  its HTTP client's exceptions are not part of its interface
            raise RegistryUnavailable(
                f"no answer from the schema registry at {url} ({error or type(error).__name__})",
                "check kafka.schema_registry_url, and that the registry is running",
            ) from None


class _NotThere(RegistryUnavailable):
    pass


class Registration:
    """Registers one schema in the background, retrying until the registry answers."""

    def __init__(self, registry: Registry, topic: str, schema: dict[str, Any], on_note: OnNote) -> None:
        """Start the thread.

        Args:
            registry: the registry.
            topic: full name.
            schema: schema of the topic's messages.
            on_note: receives each new reason why the registry does not answer.
        """
        self.header: bytes | None = None
        """The header of messages; None until the schema is registered."""
        self._ask: Callable[[], bytes] = lambda: registry.register(topic, schema)
        self._on_note = on_note
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop retrying."""
        self._end.set()

    def _run(self) -> None:
        reported = ""
        while not self._end.is_set():
            try:
                self.header = self._ask()
            except RegistryUnavailable as error:
                if error.reason != reported and not self._end.is_set():
                    reported = error.reason
                    self._on_note(f"{error}. Until then nothing is sent.")
                self._end.wait(_REGISTRY_RETRY_SECONDS)
            else:
                return


def schema_message(schema: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return key and value of the message that publishes a schema.

    The key is the fingerprint in hex, with the bytes in the same order as in the header of a single-object message.
    Source: the Avro specification, "Single-object encoding".
    """
    key = single_object_header(schema).removeprefix(MARKER).hex()
    return key.encode(), json.dumps(schema, separators=(",", ":")).encode()


def schema_of_message(key: bytes, value: bytes) -> WriterSchema:
    """Parse and check a published schema.

    Raises:
        BadSchema: it is not a valid schema, or its fingerprint differs from its key, which rules out substitution.
    """
    schema = checked_schema(value)
    if schema.header.removeprefix(MARKER).hex().encode() != key:
        raise BadSchema("the schema's fingerprint differs from its key")
    return schema


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
