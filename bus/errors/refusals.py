"""Decide whether a failure concerns one message or the broker.

A failure of the broker or the connection ends or pauses a process. Every other failure concerns the message, or is a
bug that only this message triggers: the message is dead-lettered, and processing continues.
"""

from confluent_kafka import KafkaError, KafkaException

from bus.errors.unavailable import BusUnavailable, fault_text
from schemas.errors import LannerError

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
