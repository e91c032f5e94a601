"""Credentials for the broker, for Faust and for its Kafka client."""

import ssl
from typing import Any

import faust
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from bus.connection import Connection


def servers(connection: Connection) -> list[str]:
    """Return the addresses of the brokers."""
    return [each.strip() for each in connection.bootstrap_servers.split(",")]


def credentials(connection: Connection) -> Any:
    """Return the credentials for Faust; None if the broker requires none."""
    context = None
    if connection.uses_tls:
        context = ssl.create_default_context(cafile=connection.ca_file or None)
        if connection.certificate_file:
            context.load_cert_chain(
                connection.certificate_file, connection.key_file or None, connection.key_password or None
            )
    if connection.uses_sasl:
        return faust.SASLCredentials(
            username=connection.username,
            password=connection.password,
            ssl_context=context,
            mechanism=connection.sasl_mechanism.upper(),
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def client_options(connection: Connection) -> dict[str, Any]:
    """Return addresses and credentials for Faust's Kafka client when it is used directly."""
    return {"bootstrap_servers": servers(connection), **credentials_to_aiokafka_auth(credentials(connection))}
