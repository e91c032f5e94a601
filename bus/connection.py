"""How a broker is reached, and as whom: one description for every client, Faust's included."""

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]
Compression = Literal["zstd", "lz4", "none"]

DEFAULT_PREFIX = "lanner."
CLIENT_LOG = "librdkafka"
"""The logger that the client's own words go to, where it is made to take them."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Where a schema registry is, and as whom it is asked."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """PEM; empty for the system's own authorities."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Addresses and credentials; secrets stay out of its repr, so that no log can show them."""

    bootstrap_servers: str = "127.0.0.1:9092"
    prefix: str = DEFAULT_PREFIX
    """Begins the name of every topic and group, so that one prefixed ACL covers them."""
    security_protocol: SecurityProtocol = "plaintext"
    sasl_mechanism: SaslMechanism = "scram-sha-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """PEM; empty for the system's own authorities."""
    certificate_file: str = ""
    """PEM; only for mutual TLS."""
    key_file: str = ""
    key_password: str = field(default="", repr=False)
    compression: Compression = "zstd"
    registry: RegistryAddress | None = None
    """Where set, messages are written in Confluent's wire format; both formats are read in any case."""

    @property
    def uses_tls(self) -> bool:
        """Whether traffic is encrypted."""
        return self.security_protocol in ("ssl", "sasl_ssl")

    @property
    def uses_sasl(self) -> bool:
        """Whether a name and a password are sent."""
        return self.security_protocol in ("sasl_plaintext", "sasl_ssl")

    def topic(self, name: str) -> str:
        """Give a topic's or a group's full name."""
        return f"{self.prefix}{name}"


def client_config(connection: Connection, client_id: str) -> dict[str, Any]:
    """Give the settings that librdkafka's producers, consumers and admin clients share.

    Source: librdkafka's CONFIGURATION.md.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": connection.bootstrap_servers,
        "client.id": client_id,
        "security.protocol": connection.security_protocol.upper(),
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        # Connecting is bounded elsewhere; a broker that restarts must be found again soon.
        "socket.connection.setup.timeout.ms": 5000,
        # librdkafka writes to standard error by itself otherwise; what matters of it, error_cb gets.
        "log_level": 0,
    }
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
