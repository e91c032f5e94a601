"""The event types that are collected although no rule needs them, because they show what led to an alert."""

from collector.events.system_calls import EVERYTHING
from lanner.errors import BadInput
from lanner.settings import Settings


def always_sent(settings: Settings) -> frozenset[str]:
    """Return the configured event types. Raises BadInput if the collector doesn't support one."""
    names = frozenset(settings.collector.always_sent)
    if unknown := sorted(names - EVERYTHING):
        raise BadInput(
            *(f"collector.always_sent: {name!r} is not an event type that the collector supports." for name in unknown)
        )
    return names
