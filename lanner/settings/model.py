"""Every setting with its type, its default and what it is for: the one place that says so.

Names are Falco's wherever the meaning is Falco's, so that what people know and have keeps working.
The comment that `lanner config default` prints above a setting is its `about`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

LogLevel = Literal["debug", "info", "warning", "error"]
Matching = Literal["first", "all"]
PriorityName = Literal["emergency", "alert", "critical", "error", "warning", "notice", "informational", "info", "debug"]


def about(text: str, default: Any) -> Any:
    """Declare a setting with its comment; sections and lists are made anew for every object."""
    if callable(default):
        return field(default_factory=default, metadata={"about": text})
    return field(default=default, metadata={"about": text})


@dataclass(frozen=True, slots=True)
class Target:
    """Which rules a selection is about: by name (`*` stands for any text) or by tag."""

    rule: str | None = about("Name of a rule; * stands for any text.", None)
    tag: str | None = about("A tag of rules.", None)


@dataclass(frozen=True, slots=True)
class Selection:
    """One step of turning rules on or off; steps apply in order."""

    enable: Target | None = about("Rules to turn on.", None)
    disable: Target | None = about("Rules to turn off.", None)


@dataclass(frozen=True, slots=True)
class OutputMatch:
    """Which alerts an appended output is for; all that is given must hold."""

    source: str | None = about("Source of the rule.", None)
    rule: str | None = about("Name of the rule.", None)
    tags: tuple[str, ...] = about("Tags that the rule must have, all of them.", ())


@dataclass(frozen=True, slots=True)
class ExtraField:
    """A field for output_fields under a name of its own: `name: format`."""

    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class AppendOutput:
    """Text and fields that are added to the alerts of some rules."""

    match: OutputMatch = about("The alerts that it is for; all, if empty.", OutputMatch)
    extra_output: str | None = about("Text, with %fields, to put behind the rule's own.", None)
    extra_fields: tuple[ExtraField, ...] = about("Fields for output_fields: a name, or `name: format`.", ())


@dataclass(frozen=True, slots=True)
class StdoutOutput:
    """Alerts as lines on standard output."""

    enabled: bool = about("Print alerts on standard output.", default=True)


@dataclass(frozen=True, slots=True)
class FileOutput:
    """Alerts as lines in a file, for what collects log files."""

    enabled: bool = about("Append alerts to a file.", default=False)
    filename: str = about("Where; made with mode 0600, reopened on SIGUSR1.", "/var/log/lanner/alerts.log")


@dataclass(frozen=True, slots=True)
class SyslogOutput:
    """Alerts to the local syslog daemon."""

    enabled: bool = about("Send alerts to the local syslog.", default=False)
    socket: str = about("Its datagram socket.", "/dev/log")


@dataclass(frozen=True, slots=True)
class Host:
    """Under which names this host's events go."""

    id: str | None = about("Identity of the host; the machine id, if not set.", None)
    name: str | None = about("Name of the host; $LANNER_HOSTNAME, $FALCO_HOSTNAME or that of PID 1, if not set.", None)


@dataclass(frozen=True, slots=True)
class Collector:
    """How much the collector holds in memory, and how soon it lets go."""

    ring_mib: int = about("Size of the ring buffer for events, MiB; a power of two.", 16)
    lifecycle_ring_mib: int = about("Size of the ring buffer for execs, forks and exits, MiB; a power of two.", 4)
    batch_events: int = about("A batch is sent at this many events ...", 500)
    batch_ms: int = about(
        "... or this many milliseconds after its first one; small, since in one process a batch costs little.", 20
    )
    docker_socket: str = about("Where Docker is asked about containers.", "/var/run/docker.sock")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process."""

    rules_files: tuple[str, ...] = about(
        "Rule files, or folders of them, in order. They replace what ships: the rules that come with Lanner, then\n"
        "/etc/lanner/rules.d/*.yaml by name.",
        (),
    )
    rules: tuple[Selection, ...] = about(
        "Turn rules on and off, in order: [{disable: {rule: '*'}}, {enable: {tag: container}}].", ()
    )
    priority: PriorityName = about("Rules below this priority are not loaded.", "debug")
    rule_matching: Matching = about("first: an event gives one alert at most; all: one a rule.", "first")
    append_output: tuple[AppendOutput, ...] = about(
        "Add to alerts: [{match: {rule: X, source: syscall, tags: [t]}, extra_output: 'cpu %evt.cpu',\n"
        "extra_fields: [evt.cpu, {home: '%proc.env[HOME]'}]}].",
        (),
    )
    json_output: bool = about("Alerts as JSON, one object a line, instead of text.", default=False)
    json_include_output_property: bool = about("Keep `output` in JSON.", default=True)
    json_include_output_fields_property: bool = about("Keep `output_fields` in JSON.", default=True)
    json_include_tags_property: bool = about("Keep `tags` in JSON.", default=True)
    time_format_iso_8601: bool = about("Date and time with zone before a text line, not just the time.", default=False)
    watch_config_files: bool = about("Read settings and rules again when their files change.", default=True)
    log_level: LogLevel = about("How much Lanner says about itself, on standard error.", "info")
    stdout_output: StdoutOutput = about("Alerts as lines on standard output.", StdoutOutput)
    file_output: FileOutput = about("Alerts as lines in a file.", FileOutput)
    syslog_output: SyslogOutput = about("Alerts to the local syslog daemon.", SyslogOutput)
    host: Host = about("Under which names this host's events go.", Host)
    collector: Collector = about("How much the collector holds in memory, and how soon it lets go.", Collector)
