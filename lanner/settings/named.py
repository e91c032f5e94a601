"""Sinks under names of their own: several webhooks, channels or daemons beside the one that each `..._output` is."""

from collections.abc import Mapping
from dataclasses import replace

from lanner.settings.sections.delivery import SlackOutput
from lanner.settings.sections.model import FileOutput, NamedSection, Settings, SyslogOutput
from lanner.settings.sections.webhook import AppriseOutput, WebhookOutput

KINDS: Mapping[str, type[NamedSection]] = {
    "file": FileOutput,
    "slack": SlackOutput,
    "webhook": WebhookOutput,
    "apprise": AppriseOutput,
    "syslog": SyslogOutput,
}
"""What there may be several of, in the order in which `run` opens them."""
SIEM = ("siem.falco", "siem.ecs", "siem.ocsf")
BUILT_IN = ("stdout", "file", "syslog", "slack", "webhook", "apprise", *SIEM)
"""Sinks that are there without being named."""
COMMANDS = ("test", "preview")
"""Words that `lanner notifier` takes for something else than a sink."""


def sinks_of(settings: Settings) -> tuple[str, ...]:
    """Give every sink that there is."""
    return (*BUILT_IN, *settings.sinks)


def kind_of(settings: Settings, sink: str) -> str:
    """Give what kind of sink a name means; a built-in one is its own."""
    section = settings.sinks.get(sink)
    return sink if section is None else next(kind for kind, each in KINDS.items() if isinstance(section, each))


def seen_by(settings: Settings, sink: str) -> Settings:
    """Give the settings with a named sink's section in place of the one of its kind, so that one code reads both."""
    section = settings.sinks.get(sink)
    if section is None:
        return settings
    output = f"{kind_of(settings, sink)}_output"
    # mypy can't see which section belongs to which name.
    return replace(settings, **{output: section})  # type: ignore[arg-type]


def section_of(settings: Settings, sink: str) -> NamedSection | None:
    """Give a sink's section; None for what has none, as the SIEM topics."""
    found: NamedSection | None = getattr(seen_by(settings, sink), f"{kind_of(settings, sink)}_output", None)
    return found


def secrets_of(settings: Settings, sink: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Give the environment as a sink is to see it: a named one has variables of its own, and not those of its kind.

    $LANNER_SINK_PAGERDUTY_TOKEN is to the webhook `pagerduty` what $LANNER_WEBHOOK_TOKEN is to `webhook`.
    """
    if sink not in settings.sinks:
        return environment
    own, common = _variables(settings, sink)
    return {common + name.removeprefix(own): value for name, value in environment.items() if name.startswith(own)}


def in_its_words(settings: Settings, sink: str, message: str) -> str:
    """Give a message about a sink's settings with the names that they have for this sink."""
    if sink not in settings.sinks:
        return message
    own, common = _variables(settings, sink)
    return message.replace(f"{kind_of(settings, sink)}_output", f"sinks.{sink}").replace(f"${common}", f"${own}")


def _variables(settings: Settings, sink: str) -> tuple[str, str]:
    return f"LANNER_SINK_{sink.upper()}_", f"LANNER_{kind_of(settings, sink).upper()}_"
