"""The event types that are collected although no rule needs them, because they show what led to an alert."""

from collector.events.system_calls import EVERYTHING
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault, nearest


def always_sent(settings: Settings) -> frozenset[str]:
    """Return the configured event types. Raises BadSettings if the collector doesn't support one."""
    names = frozenset(settings.collector.always_sent)
    if unknown := sorted(names - EVERYTHING):
        raise BadSettings(*(_fault(settings, name) for name in unknown))
    return names


def _fault(settings: Settings, name: str) -> SettingFault:
    setting = f"collector.always_sent[{settings.collector.always_sent.index(name)}]"
    text = f"{setting}: {name!r} is not an event type that the collector supports."
    return SettingFault(setting, text, nearest(name, EVERYTHING))
