"""Which failures are a message's own, and which are the broker's: the one place that decides it.

A failure of the broker or of the way to it ends or pauses a process. Every other failure has to do with the message at
hand, or is a fault of ours that only this message meets: the message becomes a dead letter and the work goes on.
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
    """The broker or the client does not accept a message, however often it is sent."""


def is_refusal(error: KafkaError) -> bool:
    """Return whether a message itself is at fault, so that sending it again is in vain."""
    return error.code() in _OF_THE_MESSAGE


def is_too_large(error: KafkaError) -> bool:
    """Return whether a message, or what was sent together with it, is larger than the broker or the client takes."""
    return error.code() in _OF_ITS_SIZE


def meaning(error: BaseException) -> Exception:
    """Return what the failure of a send means: KafkaException for trouble with the broker, else Refused.

    Args:
        error: raised by the client's produce, or made of what it reported on delivery.
    """
    if isinstance(error, KafkaException):
        return MessageRefused(error.args[0].str()) if is_refusal(error.args[0]) else error
    return MessageRefused(fault_text(error))


def is_broker_error(error: BaseException) -> bool:
    """Return whether a failure says something about the broker, or about this process, and nothing about a message."""
    return isinstance(error, (KafkaException, BusUnavailable)) or not isinstance(error, Exception)
