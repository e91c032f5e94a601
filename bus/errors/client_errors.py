"""Why the broker can't be used, in words for people that name the setting to look at."""

import re
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from bus.clients.retry import Retry
from bus.connection import Connection
from bus.errors.fatal import CREDENTIALS_SECONDS, patience_with
from bus.errors.unavailable import BusUnavailable

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
    """Say which setting the client can't work with, by our name for it."""
    text = error.str()
    for theirs, ours in _SETTINGS.items():
        text = text.replace(theirs, ours)
    return BusUnavailable(
        f"the Kafka client can't be set up ({text})", "check what the settings under kafka name", patience=0
    )


def unavailable(connection: Connection, error: KafkaError) -> BusUnavailable:
    """Say in words for people why the broker can't be used."""
    servers, text = connection.bootstrap_servers, _AROUND.sub("", error.str())
    if len(text) > _MOST_CHARACTERS:
        # A broker may give the whole request back.
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
            "check kafka.certificate_file and kafka.key_file: who signed it, and until when it is valid",
            patience=CREDENTIALS_SECONDS,
        )
    if error.code() == KafkaError._SSL:  # noqa: SLF001
        return BusUnavailable(
            f"no TLS with the broker at {servers} ({text})",
            "check kafka.ca_file, and that kafka.bootstrap_servers has a name that is in the broker's certificate",
            patience=patience,
        )
    if is_forbidden(error):
        return BusUnavailable(
            f"the broker at {servers} forbids that ({text})",
            "give this user its rights: `lanner topics acls`",
            patience=patience,
        )
    if error.code() in _UNKNOWN:
        return BusUnavailable(
            f"the broker at {servers} does not know a topic or a partition of it ({text})",
            "create what is missing by `lanner topics create`",
            patience=patience,
        )
    return BusUnavailable(
        f"no answer from a broker at {servers} ({text})",
        "check kafka.bootstrap_servers and kafka.security_protocol, and that the broker runs",
        patience=patience,
    )


def is_forbidden(error: KafkaError) -> bool:
    """Tell whether this client is known, but may not do that."""
    return error.code() in _RIGHTS


def _is_refused_certificate(error: KafkaError) -> bool:
    # In TLS 1.3 a client's certificate is refused after its handshake is over: the client sees a broken connection.
    return error.code() == KafkaError._TRANSPORT and "tls alert" in error.str()  # noqa: SLF001


class ClientErrors:
    """What one client said of its connections: the call that failed often knows only that it timed out."""

    def __init__(self, connection: Connection) -> None:
        self.told: KafkaError | None = None
        """The most telling of the newest errors."""
        self._connection = connection

    @property
    def is_final(self) -> bool:
        """Whether waiting is in vain: somebody has to change something."""
        told = self.told
        return told is not None and (
            told.code() in (*_CREDENTIALS, KafkaError._SSL) or _is_refused_certificate(told)  # noqa: SLF001
        )

    def on_error(self, error: KafkaError) -> None:
        """Take an error; to be the client's error_cb."""
        # That all brokers are down says less than why the first one was.
        if self.told is None or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self.told = error

    def unavailable(self, error: KafkaError) -> BusUnavailable:
        """Say why a call failed."""
        vague = error.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001
        return unavailable(self._connection, self.told if vague and self.told is not None else error)


class Client(Protocol):
    """What every client of the broker can do."""

    def poll(self, timeout: float = ...) -> Any:
        """Call back."""


def ask(client: Client, trouble: ClientErrors, question: Callable[[float], Answer]) -> Answer:
    """Ask a broker until it answers, for a bounded time; one that comes back gives other answers for a while.

    Args:
        client: whose error_cb is the trouble's; a consumer without an assignment.
        trouble: of this client.
        question: takes a time-out in seconds and raises KafkaException.

    Raises:
        BusUnavailable: nobody answered in time, or the client learned that nobody will let it in.
    """
    retry = Retry("", most_seconds=TIMEOUT_SECONDS)
    while True:
        try:
            return question(_TURN_SECONDS)
        except KafkaException as error:
            client.poll(0.1)
            why = trouble.unavailable(error.args[0])
            if trouble.is_final:
                raise why from None
            pause = retry.failed(why)
        time.sleep(pause)
