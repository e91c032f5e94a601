"""Named sinks: several webhooks, channels or daemons, in addition to the built-in one of each type."""

from collections.abc import Mapping
from dataclasses import fields

from lanner.settings.sections.model import NamedSection, Settings

KINDS: Mapping[str, type[NamedSection]] = {
    each.name.removesuffix("_output"): each.type
    for each in fields(Settings)
    if isinstance(each.type, type) and issubclass(each.type, NamedSection)
}
"""Kinds of sinks that may have several instances, by the `NAME_output` of the settings, in its order."""
SIEM = ("siem.falco", "siem.ecs", "siem.ocsf")
BUILT_IN = ("stdout", *KINDS, *SIEM)
"""Sinks that exist without being named under `sinks`."""
COMMANDS = ("test", "preview")
"""Words that `lanner notifier` reads as commands, not as sinks."""


def sinks_of(settings: Settings) -> tuple[str, ...]:
    """Return the names of all sinks."""
    return (*BUILT_IN, *settings.sinks)


def kind_of(settings: Settings, sink: str) -> str:
    """Return the kind of a sink; a built-in sink is its own kind."""
    section = settings.sinks.get(sink)
    return sink if section is None else next(kind for kind, each in KINDS.items() if isinstance(section, each))


def section_of(settings: Settings, sink: str) -> NamedSection | None:
    """Return a sink's section; None for the SIEM topics, which have none."""
    found: NamedSection | None = settings.sinks.get(sink) or getattr(settings, f"{sink}_output", None)
    return found


def secrets_of(settings: Settings, sink: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment for a sink: a named sink has its own variables instead of those of its kind.

    $LANNER_SINK_PAGERDUTY_TOKEN is for the webhook `pagerduty` what $LANNER_WEBHOOK_TOKEN is for `webhook`.
    """
    if sink not in settings.sinks:
        return environment
    own, common = _variables(settings, sink)
    return {common + name.removeprefix(own): value for name, value in environment.items() if name.startswith(own)}


def in_its_words(settings: Settings, sink: str, message: str) -> str:
    """Return a message about a sink with the names that its settings and variables have."""
    if sink not in settings.sinks:
        return message
    own, common = _variables(settings, sink)
    return message.replace(f"{kind_of(settings, sink)}_output", f"sinks.{sink}").replace(f"${common}", f"${own}")


def _variables(settings: Settings, sink: str) -> tuple[str, str]:
    return f"LANNER_SINK_{sink.upper()}_", f"LANNER_{kind_of(settings, sink).upper()}_"
