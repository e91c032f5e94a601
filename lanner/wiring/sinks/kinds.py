"""The registry's entry for a kind of sink, and the context from which a sink is built."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bus.connection import Connection
from foundation.text import OnNote, ignore_note
from lanner.settings import Settings
from lanner.settings.faults import SettingFault
from notifier.formats.falco import LineStyle, line_of
from notifier.sink import RoutedAlert, Sink

if TYPE_CHECKING:
    import ssl

Opener = Callable[[], Sink]
"""Opens a sink whose settings are right. Raises BadInput for what only opening shows."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """The context from which a sink is built."""

    name: str
    section: Any
    """The sink's section of the settings; None for SIEM topics, which have none."""
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict)
    """May contain secrets; variables of a named sink appear under the names of its kind."""
    connection: Connection | None = None
    """The broker, for SIEM topics."""
    report: OnNote = ignore_note
    """Called with problems that occur while the sink runs."""


def text_preview(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the line that the settings describe."""
    return line_of(line_style(context.settings))(routed.rendered)


@dataclass(frozen=True, slots=True)
class SinkKind:
    """How one kind of sink is prepared, opened and previewed."""

    prepare: Callable[[SinkContext], Opener]
    """Checks all settings of a sink that a queue feeds, changes nothing, and returns what opens it. Raises BadInput."""
    preview: Callable[[SinkContext, RoutedAlert], str] = text_preview
    """Returns what the sink would send, without settings that only sending needs. Raises BadInput."""
    prepare_direct: Callable[[SinkContext], Opener | None] = lambda _: None
    """As prepare, for a sink that `lanner run` feeds without an outbox; None if it needs one."""
    has_channels: bool = False
    """True if a route may name a channel."""
    has_text: bool = True
    """True if a route's template has a text to replace."""


def line_style(settings: Settings, form: str | None = None) -> LineStyle:
    """Return the style of lines; form (text or json) overrides json_output."""
    return LineStyle(
        json_output=settings.json_output if form is None else form == "json",
        time_format_iso_8601=settings.time_format_iso_8601,
        json_include_output_property=settings.json_include_output_property,
        json_include_output_fields_property=settings.json_include_output_fields_property,
        json_include_tags_property=settings.json_include_tags_property,
    )


def tls_of(name: str, section: Any, faults: list[SettingFault]) -> "ssl.SSLContext | None":
    """Return a context that verifies the server, by the files that a section names; None after adding faults."""
    # Imported here, because OpenSSL takes 1 MiB.
    from notifier.sinks.syslog import BadCertificate, TlsFiles, client_context

    keys = ("ca_file", "certificate_file", "key_file")
    paths = {key: getattr(section, key) or "" for key in keys}
    wrong = [
        SettingFault(f"{name}.{key}", f"{name}.{key}: {path}: missing, or not readable by this user.")
        for key, path in paths.items()
        if path and not os.access(path, os.R_OK)
    ]
    if paths["key_file"] and not paths["certificate_file"]:
        text = f"{name}.certificate_file must be set where key_file is."
        wrong.append(SettingFault(f"{name}.key_file", text))
    if not wrong:
        try:
            return client_context(TlsFiles(**paths))
        except BadCertificate as error:
            given = next((key for key in ("certificate_file", "ca_file") if paths[key]), "ca_file")
            wrong.append(SettingFault(f"{name}.{given}", f"{name}: {error}."))
    faults += wrong
    return None
