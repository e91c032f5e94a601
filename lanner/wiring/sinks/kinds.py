"""What the registry holds for each kind of sink, and what a sink is built from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bus.connection import Connection
from lanner.settings import Settings
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.sink import Sink
from notifier.formats.text import LineStyle, line_of
from schemas.text.notes import OnNote, ignore_note


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink is built from."""

    name: str
    section: Any
    """The sink's section of the settings; None for SIEM topics, which have none."""
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict)
    """May hold secrets; variables of a named sink appear under the names of its kind."""
    connection: Connection | None = None
    """The broker, for SIEM topics."""
    report: OnNote = ignore_note
    """Called with problems that occur while the sink runs."""


def text_preview(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the line that the settings describe."""
    return line_of(line_style(context.settings))(routed.rendered)


@dataclass(frozen=True, slots=True)
class SinkKind:
    """How one kind of sink is opened and previewed."""

    open: Callable[[SinkContext], Sink]
    """Opens a sink that a queue feeds. Raises BadInput, and BusUnavailable for SIEM topics."""
    preview: Callable[[SinkContext, RoutedAlert], str] = text_preview
    """Returns what the sink would send, without settings that only sending needs. Raises BadInput."""
    open_direct: Callable[[SinkContext], Sink | None] = lambda _: None
    """Opens a sink that `lanner run` feeds without an outbox; None if it needs one. Raises BadInput."""
    has_channels: bool = False
    """Whether a route may name a channel."""
    has_text: bool = True
    """Whether a route's template has a text to replace."""


def line_style(settings: Settings, form: str | None = None) -> LineStyle:
    """Return the style of lines; form (text or json) overrides json_output."""
    return LineStyle(
        json_output=settings.json_output if form is None else form == "json",
        time_format_iso_8601=settings.time_format_iso_8601,
        json_include_output_property=settings.json_include_output_property,
        json_include_output_fields_property=settings.json_include_output_fields_property,
        json_include_tags_property=settings.json_include_tags_property,
    )
