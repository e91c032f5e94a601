"""What a fleet's processor judges by: the published version where there is one, else rule files."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import Message

from bus.connection import Connection
from bus.rules_topic import accept, current
from lanner.detection import Detection, load_detection
from lanner.failures import BadInput
from lanner.host_names import HostNames
from lanner.published_rules import detection_of_published, public_keys
from lanner.settings import Settings
from lanner.terminal import error_line, note
from processor.rules_in_use import RulesInUse, RulesRefused
from schemas.codec import decode_batch
from schemas.interest_text import encode_interest
from schemas.published_rules import BadRules

_NAME_SECONDS = 5
"""Waited for the addresses of the host names in new rules, before they come into force."""
_MAX_ERRORS = 5


def preparation(settings: Settings) -> Callable[[Message], RulesInUse]:
    """Give what compiles a message of the topic of rules; it raises RulesRefused. Raises BadInput for bad keys."""
    keys = public_keys(settings)

    def prepare(message: Message) -> RulesInUse:
        try:
            accepted = accept(message, keys)
            detection = detection_of_published(settings, accepted.rules)
        except BadRules as error:
            raise RulesRefused(str(error)) from None
        except BadInput as error:
            more = len(error.messages) - _MAX_ERRORS
            told = " ".join(error.messages[:_MAX_ERRORS]) + (f" … and {more} more errors" if more > 0 else "")
            raise RulesRefused(told) from None
        return _in_use(
            detection,
            interest=encode_interest(detection.interest),
            published=accepted.rules,
            signed_by=accepted.signed_by,
            offset=message.offset() or 0,
        )

    return prepare


def rules_at_start(
    settings: Settings, connection: Connection, prepare: Callable[[Message], RulesInUse], *, quiet: bool
) -> RulesInUse:
    """Give the published version, or the rule files where there is none or it can't be used; the latter is told.

    Raises:
        BadInput: the rule files are wrong.
        BusUnavailable: no broker.
    """
    message = current(connection) if settings.published_rules.enabled else None
    if message is not None:
        try:
            return prepare(message)
        except RulesRefused as error:
            error_line(f"rules refused: {error}. This processor begins with its rule files.")
    detection = load_detection(settings, warnings=not quiet)
    if not quiet:
        for line in detection.notices:
            note(line)
    return _in_use(detection)


def _in_use(detection: Detection, **published: Any) -> RulesInUse:
    names = HostNames(detection.host_names)
    names.wait(_NAME_SECONDS)
    return RulesInUse(
        judges=detection.judges,
        rules=detection.in_force,
        decode=lambda data: names.named(decode_batch(data)),
        close=names.stop,
        origin=detection.origin,
        **published,
    )
