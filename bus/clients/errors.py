"""Translate client errors into messages that name the setting to check."""

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from bus.clients.availability import Retry
from bus.connection import BusUnavailable, Connection, fault_text
from foundation.errors import LannerError

CREDENTIALS_SECONDS = 10.0
"""Retry such errors for this long: a broker that stops during a handshake looks like one that refuses it."""
UNKNOWN_TOPIC_SECONDS = 30.0
"""Retry such errors for this long: a broker that restarts, or has just created a topic, may not know it yet."""


@dataclass(frozen=True, slots=True)
class _Fatal:
    seconds: float
    """How long the error is retried anyway, if no other answer comes."""
    why: str


_SECRET = _Fatal(CREDENTIALS_SECONDS, "wrong credentials stay wrong")
_RIGHT = _Fatal(0.0, "an administrator has to allow it")
_TLS = _Fatal(CREDENTIALS_SECONDS, "wrong certificates stay wrong")
_VERSION = _Fatal(0.0, "the versions of client and broker are incompatible")
_SETTING = _Fatal(0.0, "a setting of the client or the broker forbids it")
_TOPIC = _Fatal(UNKNOWN_TOPIC_SECONDS, "the topic has to be created: `lanner topics create`")

FATAL: Mapping[str, _Fatal] = {
    "_AUTHENTICATION": _SECRET,
    "SASL_AUTHENTICATION_FAILED": _SECRET,
    "UNSUPPORTED_SASL_MECHANISM": _SECRET,
    "TOPIC_AUTHORIZATION_FAILED": _RIGHT,
    "GROUP_AUTHORIZATION_FAILED": _RIGHT,
    "CLUSTER_AUTHORIZATION_FAILED": _RIGHT,
    "SECURITY_DISABLED": _RIGHT,
    "_SSL": _TLS,
    "UNSUPPORTED_VERSION": _VERSION,
    "_UNSUPPORTED_FEATURE": _VERSION,
    "_INVALID_ARG": _SETTING,
    "INVALID_GROUP_ID": _SETTING,
    "INVALID_SESSION_TIMEOUT": _SETTING,
    "TOPIC_EXCEPTION": _SETTING,
    "POLICY_VIOLATION": _SETTING,
    "UNKNOWN_TOPIC_OR_PART": _TOPIC,
    "_UNKNOWN_TOPIC": _TOPIC,
    "_UNKNOWN_PARTITION": _TOPIC,
    # Faust's client has its own names for errors that it detects itself.
    "AuthenticationFailedError": _SECRET,
    "AuthenticationMethodNotSupported": _SECRET,
    "UnrecognizedBrokerVersion": _VERSION,
    "IncompatibleBrokerVersion": _VERSION,
    "UnsupportedCodecError": _VERSION,
    "KafkaConfigurationError": _SETTING,
}
"""By librdkafka's name of the error; its numbers are those of the protocol, which Faust's client also uses."""


def name_of(error: object) -> str:
    """Return the name of an error of either client, as in the list."""
    if isinstance(error, KafkaError):
        return error.name()
    number = getattr(error, "errno", None)
    return KafkaError(number).name() if isinstance(number, int) else type(error).__name__


def patience_with(error: object) -> float:
    """Return how many seconds to retry an error of either client; infinite if it is not listed."""
    fatal = FATAL.get(name_of(error))
    return math.inf if fatal is None else fatal.seconds


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


_SIZE = re.compile(r"Invalid response size (\d{1,10}) ")
"""The client takes the first four bytes of any answer for a length."""
_PROTOCOLS = {b"HTTP": "HTTP", b"\x15\x03": "TLS", b"SSH-": "SSH", b"220 ": "SMTP or FTP"}
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
    if (size := _SIZE.search(text)) is not None:
        begins = (int(size[1]) & 0xFFFFFFFF).to_bytes(4, "big")
        what = next((name for start, name in _PROTOCOLS.items() if begins.startswith(start)), "another protocol")
        return BusUnavailable(
            f"what answers at {servers} is not a Kafka broker: it speaks {what}",
            "check the port in kafka.bootstrap_servers, and kafka.security_protocol",
            patience=patience,
        )
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
        self.on_wait = connection.on_wait
        """Receives the message that a call waits."""
        self.newest: KafkaError | None = None
        """The most specific of the recent errors."""

    @property
    def is_final(self) -> bool:
        """True if waiting won't help: credentials or certificates have to change, or no broker answers there."""
        error = self.newest
        return error is not None and (
            error.code() in (*_CREDENTIALS, KafkaError._SSL)  # noqa: SLF001
            or _is_refused_certificate(error)
            or _SIZE.search(error.str()) is not None
        )

    def on_error(self, error: KafkaError) -> None:
        """Record an error; pass this as the client's error_cb."""
        # "All brokers down" is less specific than the error of the first broker.
        if self.newest is None or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self.newest = error

    def clear(self) -> None:
        """Forget the errors, because the client works again or they have been reported."""
        self.newest = None

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


_OF_THE_MESSAGE = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError._INVALID_ARG,  # noqa: SLF001  the client's own name for it
    }
)

_OF_ITS_SIZE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE})


class MessageRefused(LannerError):
    """The broker or the client refuses a message permanently."""


def is_refusal(error: KafkaError) -> bool:
    """Return whether an error concerns the message itself, so that sending it again won't help."""
    return error.code() in _OF_THE_MESSAGE


def is_too_large(error: KafkaError) -> bool:
    """Return whether a message, or its batch, is larger than the broker or the client accepts."""
    return error.code() in _OF_ITS_SIZE


def meaning(error: BaseException) -> Exception:
    """Classify the failure of a send: return a KafkaException for a broker error, else MessageRefused.

    Args:
        error: raised by the client's produce, or made from its delivery report.
    """
    if isinstance(error, KafkaException):
        return MessageRefused(error.args[0].str()) if is_refusal(error.args[0]) else error
    return MessageRefused(fault_text(error))


def is_broker_error(error: BaseException) -> bool:
    """Return whether a failure concerns the broker or this process rather than a message."""
    return isinstance(error, (KafkaException, BusUnavailable)) or not isinstance(error, Exception)
