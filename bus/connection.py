"""Addresses and credentials of a broker: one description for every client, including Faust's."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from foundation.errors import LannerError
from foundation.text import OnNote, ignore_note

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]
Compression = Literal["zstd", "lz4", "none"]

DEFAULT_PREFIX = "lanner."
CLIENT_LOG = "librdkafka"
"""The logger for librdkafka's own messages; used if it is enabled for INFO."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Address and credentials of a schema registry."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """PEM; empty for the system's certificate authorities."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Addresses and credentials. Secrets are left out of the repr, so that no log can show them."""

    bootstrap_servers: str = "127.0.0.1:9092"
    prefix: str = DEFAULT_PREFIX
    """Prefix of the name of every topic and group, so that one prefixed ACL covers them."""
    security_protocol: SecurityProtocol = "plaintext"
    sasl_mechanism: SaslMechanism = "scram-sha-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """PEM; empty for the system's certificate authorities."""
    certificate_file: str = ""
    """PEM; only for mutual TLS."""
    key_file: str = ""
    key_password: str = field(default="", repr=False)
    compression: Compression = "zstd"
    registry: RegistryAddress | None = None
    """If set, messages are written in Confluent's wire format. Both formats are always read."""
    on_wait: OnNote = field(default=ignore_note, repr=False, compare=False)
    """Receives a message if a call waits for a broker; services report outages themselves."""

    @property
    def uses_tls(self) -> bool:
        """True if traffic is encrypted."""
        return self.security_protocol in ("ssl", "sasl_ssl")

    @property
    def uses_sasl(self) -> bool:
        """True if a username and a password are sent."""
        return self.security_protocol in ("sasl_plaintext", "sasl_ssl")

    def topic(self, name: str) -> str:
        """Return the full name of a topic or a group."""
        return f"{self.prefix}{name}"


def client_config(connection: Connection, client_id: str) -> dict[str, Any]:
    """Return the settings that librdkafka's producers, consumers and admin clients share.

    Source: librdkafka's CONFIGURATION.md.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": connection.bootstrap_servers,
        "client.id": client_id,
        "security.protocol": connection.security_protocol.upper(),
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        # Connecting is bounded elsewhere; a restarted broker must be found again soon.
        "socket.connection.setup.timeout.ms": 5000,
        # librdkafka writes to standard error otherwise; error_cb receives what matters.
        "log_level": 0,
    }
    # Imported here, because `lanner run` needs no broker: 0.6 MiB.
    import logging  # noqa: PLC0415

    log = logging.getLogger(CLIENT_LOG)
    if log.isEnabledFor(logging.INFO):
        config |= {"logger": log, "log_level": 6}
    if connection.uses_tls:
        files = {
            "ssl.ca.location": connection.ca_file,
            "ssl.certificate.location": connection.certificate_file,
            "ssl.key.location": connection.key_file,
            "ssl.key.password": connection.key_password,
        }
        config |= {name: value for name, value in files.items() if value}
    if connection.uses_sasl:
        config |= {
            "sasl.mechanism": connection.sasl_mechanism.upper(),
            "sasl.username": connection.username,
            "sasl.password": connection.password,
        }
    return config


_LONGEST_FAULT = 300


def fault_text(error: BaseException) -> str:
    """Return a short description of a failure; its message may quote what a host sent, so it is clipped."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_FAULT]


class BusUnavailable(LannerError):
    """The broker can't be used."""

    def __init__(self, reason: str, remedy: str, *, patience: float = math.inf) -> None:
        """Create the error.

        Args:
            reason: what is wrong, without a period.
            remedy: what to do about it, without a period.
            patience: how long retrying may help, seconds; 0 if only a person can fix it.
        """
        self.reason = reason
        self.remedy = remedy
        self.patience = patience
        super().__init__(f"{reason}: {remedy}")
