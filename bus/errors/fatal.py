"""The broker errors that waiting does not fix, by name, with the reason.

Every other error is retried without a limit: a restarting broker returns errors for a while that its protocol does not
call retriable.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError

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
