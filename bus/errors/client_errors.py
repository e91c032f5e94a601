"""Translate client errors into messages that name the setting to check."""

import re
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from bus.clients.retry import Retry
from bus.connection import Connection
from bus.errors.fatal import CREDENTIALS_SECONDS, patience_with
from bus.errors.unavailable import BusUnavailable
from schemas.text.notes import OnNote

TIMEOUT_SECONDS = 15.0
_TURN_SECONDS = 2.0
Answer = TypeVar("Answer")

_CREDENTIALS = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)  # noqa: SLF001  the client's names
_RIGHTS = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)
_UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)  # noqa: SLF001
_AROUND = re.compile(r"^[a-z_]+://\S+: (?:[A-Za-z ]+ failed: )?(?:error:[0-9A-F]+:)?|\s*\(after \d+ms in state \w+\)$")


_MOST_CHARACTERS = 300
_SETTINGS = {
    "ssl.ca.location": "kafka.ca_file",
    "ssl.certificate.location": "kafka.certificate_file",
    "ssl.key.location": "kafka.key_file",
    "ssl.key.password": "kafka.key_password_file",
}


def unusable(error: KafkaError) -> BusUnavailable:
    """Return an error that names the setting that the client can't use."""
    text = error.str()
    for theirs, ours in _SETTINGS.items():
        text = text.replace(theirs, ours)
    return BusUnavailable(
        f"the Kafka client can't be set up ({text})",
        "check the settings under kafka, and the files that they name",
        patience=0,
    )


def unavailable(connection: Connection, error: KafkaError) -> BusUnavailable:
    """Return an error that explains why the broker can't be used, and what to check."""
    servers, text = connection.bootstrap_servers, _AROUND.sub("", error.str())
    if len(text) > _MOST_CHARACTERS:
        # A broker may return the whole request in its message.
        text = error.name()
    patience = patience_with(error)
    if error.code() in _CREDENTIALS:
        return BusUnavailable(
            f"the broker at {servers} refused the credentials ({text})",
            "check kafka.username, kafka.password_file and kafka.sasl_mechanism",
            patience=patience,
        )
    if _is_refused_certificate(error):
        return BusUnavailable(
            f"the broker at {servers} refused this client's certificate ({text})",
            "check kafka.certificate_file and kafka.key_file: who signed the certificate, and when it expires",
            patience=CREDENTIALS_SECONDS,
        )
    if error.code() == KafkaError._SSL:  # noqa: SLF001
        return BusUnavailable(
            f"no TLS with the broker at {servers} ({text})",
            "check kafka.ca_file, and that the broker's certificate has the name in kafka.bootstrap_servers",
            patience=patience,
        )
    if is_forbidden(error):
        return BusUnavailable(
            f"the broker at {servers} denies access ({text})",
            "grant this user its rights: `lanner topics acls`",
            patience=patience,
        )
    if error.code() in _UNKNOWN:
        return BusUnavailable(
            f"the broker at {servers} does not know a topic or a partition ({text})",
            "create missing topics with `lanner topics create`",
            patience=patience,
        )
    return BusUnavailable(
        f"no answer from a broker at {servers} ({text})",
        "check kafka.bootstrap_servers and kafka.security_protocol, and that the broker is running",
        patience=patience,
    )


def is_forbidden(error: KafkaError) -> bool:
    """Return whether an error is a missing right of an authenticated client."""
    return error.code() in _RIGHTS


def _is_refused_certificate(error: KafkaError) -> bool:
    # In TLS 1.3 a client's certificate is refused after the client's handshake: it sees a broken connection.
    return error.code() == KafkaError._TRANSPORT and "tls alert" in error.str()  # noqa: SLF001


class ClientErrors:
    """The connection errors of one client; the call that fails often only knows that it timed out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._newest: KafkaError | None = None

    @property
    def on_wait(self) -> OnNote:
        """Receives the message that a call waits."""
        return self._connection.on_wait

    @property
    def newest(self) -> KafkaError | None:
        """The most specific of the recent errors."""
        return self._newest

    @property
    def is_final(self) -> bool:
        """Whether waiting won't help, because credentials or certificates have to change."""
        error = self.newest
        return error is not None and (
            error.code() in (*_CREDENTIALS, KafkaError._SSL) or _is_refused_certificate(error)  # noqa: SLF001
        )

    def on_error(self, error: KafkaError) -> None:
        """Record an error; pass this as the client's error_cb."""
        # "All brokers down" is less specific than the error of the first broker.
        if self.newest is None or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._newest = error

    def clear(self) -> None:
        """Forget the errors, because the client works again or they have been reported."""
        self._newest = None

    def unavailable(self, error: KafkaError) -> BusUnavailable:
        """Return an error that explains why a call failed."""
        vague = error.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001
        return unavailable(self._connection, self.newest if vague and self.newest is not None else error)


class Client(Protocol):
    """The method that all clients share."""

    def poll(self, timeout: float = ...) -> Any:
        """Serve callbacks."""


def ask(client: Client, client_errors: ClientErrors, question: Callable[[float], Answer]) -> Answer:
    """Repeat a request until it succeeds, for a bounded time; a restarting broker returns errors for a while.

    Args:
        client: a client whose error_cb is client_errors.on_error; a consumer must have no assignment.
        client_errors: the errors of this client.
        question: takes a timeout in seconds; raises KafkaException.

    Raises:
        BusUnavailable: no answer in time, or the broker rejects the client.
    """
    retry = Retry("The command", client_errors.on_wait, most_seconds=TIMEOUT_SECONDS)
    while True:
        try:
            return question(_TURN_SECONDS)
        except KafkaException as error:
            client.poll(0.1)
            why = client_errors.unavailable(error.args[0])
            if client_errors.is_final:
                raise why from None
            pause = retry.failed(why)
        time.sleep(pause)
