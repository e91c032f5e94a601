"""A client for schema registries with Confluent's API (Confluent's own, Apicurio, Karapace).

It imports no asyncio, which the cache in writer_schemas needs and a collector saves.
"""

import json
import ssl
import threading
from collections.abc import Callable
from typing import Any

from bus.connection import BusUnavailable, RegistryAddress
from foundation.text import OnNote
from schemas.encoding.wire import MARKER, BadSchema, WriterSchema, checked_schema, registry_header, single_object_header

_TIMEOUT_SECONDS = 5.0
_RETRY_SECONDS = 3.0
_NOT_FOUND = 404
_INCOMPATIBLE = 409
_CREDENTIALS = (401, 403)


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
                self._end.wait(_RETRY_SECONDS)
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
