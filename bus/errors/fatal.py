"""Which errors of a broker waiting does not mend, by name and with the reason.

Everything that is not in this list is retried for as long as it lasts: a broker that restarts answers for a while with
errors that its protocol does not call retriable.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError

CREDENTIALS_SECONDS = 10.0
"""A broker that goes away in the middle of a handshake looks like one that refuses it."""
UNKNOWN_TOPIC_SECONDS = 30.0
"""A broker that comes back, or that did not hear of a new topic yet, does not know topics that exist."""


@dataclass(frozen=True, slots=True)
class _Fatal:
    seconds: float
    """For how long without any other answer it is retried all the same."""
    why: str


_SECRET = _Fatal(CREDENTIALS_SECONDS, "names and passwords do not become right by waiting")
_RIGHT = _Fatal(0.0, "an administrator has to allow it")
_TLS = _Fatal(CREDENTIALS_SECONDS, "certificates do not become right by waiting")
_VERSION = _Fatal(0.0, "client and broker are too far apart in age")
_SETTING = _Fatal(0.0, "a setting of ours or of the broker's forbids it")
_TOPIC = _Fatal(UNKNOWN_TOPIC_SECONDS, "somebody has to create the topic: `lanner topics create`")

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
    "INCONSISTENT_GROUP_PROTOCOL": _VERSION,
    "_INVALID_ARG": _SETTING,
    "INVALID_GROUP_ID": _SETTING,
    "INVALID_SESSION_TIMEOUT": _SETTING,
    "TOPIC_EXCEPTION": _SETTING,
    "POLICY_VIOLATION": _SETTING,
    "UNKNOWN_TOPIC_OR_PART": _TOPIC,
    "_UNKNOWN_TOPIC": _TOPIC,
    "_UNKNOWN_PARTITION": _TOPIC,
    # Faust's client has names of its own for what it finds out by itself.
    "AuthenticationFailedError": _SECRET,
    "AuthenticationMethodNotSupported": _SECRET,
    "UnrecognizedBrokerVersion": _VERSION,
    "IncompatibleBrokerVersion": _VERSION,
    "UnsupportedCodecError": _VERSION,
    "KafkaConfigurationError": _SETTING,
}
"""By the name that librdkafka gives an error; its numbers are those of the protocol, and of Faust's client too."""


def name_of(error: object) -> str:
    """Return the name of an error of either client, as the list has it."""
    if isinstance(error, KafkaError):
        return error.name()
    number = getattr(error, "errno", None)
    return KafkaError(number).name() if isinstance(number, int) else type(error).__name__


def patience_with(error: object) -> float:
    """Return for how many seconds an error of either client is to be retried; without end where it is not listed."""
    fatal = FATAL.get(name_of(error))
    return math.inf if fatal is None else fatal.seconds
