"""Every setting with its type, its default and its comment.

Names are Falco's where the meaning is Falco's, so that existing settings and knowledge apply.
`lanner config default` prints the `about` text above each setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from lanner.settings import forms
from lanner.settings.forms import about
from lanner.settings.sections.fleet import (
    ActionsSettings,
    HostActionsSettings,
    HostsSettings,
    JsonSourceSetting,
    LagSettings,
    PublishedRulesSettings,
    PythonRulesSettings,
    RollingRecordingSettings,
)
from lanner.settings.sections.services import (
    ArchiveSettings,
    ConsoleSettings,
    Http,
    IntakeSettings,
    KubernetesAuditSettings,
    KubernetesSettings,
)
from lanner.settings.sections.sinks import (
    AlertRepeats,
    AppendOutput,
    AppriseOutput,
    FileOutput,
    MuteSetting,
    NamedSection,
    Notifier,
    RouteMatching,
    RouteSetting,
    SlackOutput,
    StdoutOutput,
    SyslogOutput,
    WebhookOutput,
)
from schemas.catalog.priorities import PriorityName

LogFormat = Literal["console", "json"]
HostIdentity = Literal["off", "trust_on_first_use", "enrolled"]
LogLevel = Literal["debug", "info", "warning", "error"]
Matching = Literal["first", "all"]
SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]
Compression = Literal["zstd", "lz4", "none"]


@dataclass(frozen=True, slots=True)
class Target:
    """Selects rules by name (`*` matches any text) or by tag."""

    rule: str | None = about("Name of a rule; * matches any text.", None)
    tag: str | None = about("A tag of rules.", None)


@dataclass(frozen=True, slots=True)
class Selection:
    """One step of enabling or disabling rules; steps apply in order."""

    enable: Target | None = about("Rules to enable.", None)
    disable: Target | None = about("Rules to disable.", None)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Identity of this host in events."""

    id: str | None = about("Id of the host; by default the machine id.", None)
    name: str | None = about(
        "Name of the host; by default $LANNER_HOSTNAME, $FALCO_HOSTNAME or PID 1's host name.", None
    )


@dataclass(frozen=True, slots=True)
class CollectorSection:
    """Buffers and batches of the collector, its pushdown filter, and its identity in the fleet."""

    ring_mib: int = about("Size of the ring buffer for events, MiB; a power of two.", 16, form=forms.ring)
    lifecycle_ring_mib: int = about(
        "Size of the ring buffer for execs, forks and exits, MiB; a power of two.", 4, form=forms.ring
    )
    count_repeats: bool = about(
        "Of equal events that a process repeats within a second, send ten per CPU, and the rest as one event with\n"
        "their number (evt.count).",
        default=True,
    )
    exact_paths: bool = about(
        "Read the paths of calls such as unlink, link, symlink and rename from the kernel's own copies, which other\n"
        "threads can't change. Where the kernel refuses BPF programs at functions, this costs about 0.1 microseconds\n"
        "per open and close.",
        default=True,
    )
    batch_events: int = about("A batch is sent at this many events,", 500)
    batch_ms: int = about(
        "or this many milliseconds after its first event; small, because batches are cheap in one process. While few\n"
        "events come, one that a rule may match waits for no others; from 1,000 a second on, a batch waits at least\n"
        "100 ms.",
        20,
    )
    docker_socket: str = about("Docker's socket, to look up containers.", "/var/run/docker.sock")
    podman_socket: str = about("Podman's socket.", "/run/podman/podman.sock")
    cri_sockets: tuple[str, ...] = about(
        "Sockets of container runtimes that speak CRI; none: the usual ones. A running container's shim reveals its\n"
        "runtime's socket, so this is needed only where the collector can't see shims.",
        (),
    )
    unknown_containers: bool = about(
        "Treat a process with process ids and mounts of its own as one in a container, of type unknown, even if no\n"
        "runtime created it. Off for hosts whose users work in sandboxes such as bubblewrap, Flatpak or Bazel.",
        default=True,
    )
    container_parents: tuple[str, ...] = about(
        "Additional parent cgroups of containers: docs/running.md. `*` matches any part of one name, as in\n"
        "/user.slice/user-*.slice/user@*.service for rootless Podman.",
        (),
    )
    server_packages: bool = about(
        "Add to alerts the server on the network that a process descends from, and the packages of it and its\n"
        "libraries: docs/inventory.md.",
        default=False,
    )
    pushdown: bool = about(
        "Let the kernel drop events that can't match any rule; `lanner rules pushdown` shows which.", default=True
    )
    always_sent: tuple[str, ...] = about(
        "Event types that `lanner collector` always sends, and `lanner run` always records, because they show what\n"
        "led to an alert.",
        ("execve", "execveat", "procexit", "listen", "connect"),
    )
    identity: HostIdentity = about(
        "Whose batches processors accept; use the same value on all hosts and processors: docs/hosts.md. off: any\n"
        "batch. trust_on_first_use: batches signed by the first key seen for a host, and unsigned ones of a host that\n"
        "never signed. enrolled: batches signed by a key enrolled with `lanner hosts enroll`.",
        "trust_on_first_use",
    )
    key_file: str | None = about(
        "File that holds this host's key, created at the first start of `lanner collector`; by default host.key in\n"
        "kafka.spool_dir.",
        None,
    )
    actions: HostActionsSettings = about("What may be done on this host: docs/actions.md.", HostActionsSettings)


@dataclass(frozen=True, slots=True)
class FirstSeenSettings:
    """Limits on the state of macros of type first_seen; use the same values for all processors."""

    values_per_group: int = about(
        "Values of one group, about 164 bytes each, twice that once it is full. Then the host, container or user that\n"
        "brought the most stores no other value, doesn't fire for it, and raises an alert.",
        20_000,
    )


@dataclass(frozen=True, slots=True)
class StatefulRulesSettings:
    """Limits on what hosts may cause to the stateful rules of a fleet; use the same values for all processors."""

    messages_per_second: int = about(
        "Messages that a user may cause. A container may cause twice as many, a host four times as many; further\n"
        "events are left out of windows and reported. 0: no limits.",
        100,
        form=forms.number,
    )


@dataclass(frozen=True, slots=True)
class StateFileSettings:
    """The state file of stateful rules, which `run` writes: windows, and counts of repeats."""

    enabled: bool = about("Restore the state after a restart.", default=True)
    filename: str = about(
        "Path; written every 5 s and on exit, mode 0600. A kill may lose what came since.",
        "/var/lib/lanner/memory",
        form=forms.path,
    )


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The broker that connects the stages of a fleet; `run` needs none."""

    bootstrap_servers: str = about(
        "Addresses of brokers, host:port, separated by commas.", "127.0.0.1:9092", form=forms.servers
    )
    prefix: str = about("Prefix of the names of all topics and groups: one prefixed ACL covers them.", "lanner.")
    security_protocol: SecurityProtocol = about(
        "plaintext, ssl, sasl_plaintext or sasl_ssl: whether to encrypt traffic and to authenticate by password.",
        "plaintext",
    )
    sasl_mechanism: SaslMechanism = about("plain, scram-sha-256 or scram-sha-512.", "scram-sha-512")
    username: str | None = about("User name for SASL.", None)
    password_file: str | None = about("File that holds the password; or set $LANNER_KAFKA_PASSWORD.", None)
    ca_file: str | None = about("PEM file of the CAs to trust; by default the system's.", None)
    certificate_file: str | None = about("PEM file of this client's certificate, for mutual TLS.", None)
    key_file: str | None = about("PEM file of its key.", None)
    key_password_file: str | None = about(
        "File that holds the key's password; or set $LANNER_KAFKA_KEY_PASSWORD.", None
    )
    compression: Compression = about("zstd, lz4 or none.", "zstd")
    schema_registry_url: str | None = about(
        "URL (http, https) of a schema registry with Confluent's API; if set, messages are written in Confluent's\n"
        "wire format. Both formats are always readable.",
        None,
        form=forms.url,
    )
    schema_registry_username: str | None = about("User name for HTTP basic authentication at the registry.", None)
    schema_registry_password_file: str | None = about(
        "File that holds the password; or set $LANNER_SCHEMA_REGISTRY_PASSWORD.", None
    )
    schema_registry_ca_file: str | None = about(
        "PEM file of the CAs to trust at the registry; by default the system's.", None
    )
    batch_ms: int = about(
        "A collector sends a batch at the latest this many milliseconds after its first event; half as many, while\n"
        "events come faster than batch_events per second.",
        100,
    )
    spool_dir: str = about(
        "Folder where a collector stores batches while the broker is unavailable.",
        "/var/lib/lanner/spool",
        form=forms.path,
    )
    spool_mib: int = about("Maximum size of spool_dir, MiB; beyond it the oldest batches are dropped and counted.", 512)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process."""

    rules_files: tuple[str, ...] = about(
        "Rule files, or folders of them, in order. They replace the default: the built-in rules, then\n"
        "/etc/lanner/rules.d/*.yaml and *.py by name.",
        (),
    )
    rules: tuple[Selection, ...] = about(
        "Enable and disable rules, in order: [{disable: {rule: '*'}}, {enable: {tag: container}}].", ()
    )
    priority: PriorityName = about("Rules below this priority are not loaded.", "debug")
    rule_matching: Matching = about("first: at most one alert per event; all: one per matching rule.", "first")
    python_rules: PythonRulesSettings = about("What the process of a Python rule file may take.", PythonRulesSettings)
    append_output: tuple[AppendOutput, ...] = about(
        "Add to alerts: [{match: {rule: X, source: syscall, tags: [t]}, extra_output: 'cpu %evt.cpu',\n"
        "extra_fields: [evt.cpu, {home: '%proc.env[HOME]'}]}].",
        (),
    )
    redact: tuple[str, ...] = about(
        "What to mask in alerts: RE2 patterns, each with one group around the secret. `default` includes the built-in\n"
        "patterns, see docs/settings.md: [default, 'mysql.* -p(\\S+)']. [] masks nothing.",
        ("default",),
    )
    json_output: bool = about("Print alerts as JSON, one object per line, instead of text.", default=False)
    json_include_output_property: bool = about("Include `output` in JSON.", default=True)
    json_include_output_fields_property: bool = about("Include `output_fields` in JSON.", default=True)
    json_include_tags_property: bool = about("Include `tags` in JSON.", default=True)
    time_format_iso_8601: bool = about(
        "Begin text lines with date and time with zone, not just the time.", default=False
    )
    watch_config_files: bool = about("Reload settings and rules when their files change.", default=True)
    log_level: LogLevel = about("Level of Lanner's own log, on standard error.", "info")
    log_format: LogFormat | None = about(
        "console: text; json: one object per line. By default plain messages for `run`, console for services.", None
    )
    http: Http = about("Metrics and health, for Prometheus and service managers.", Http)
    stdout_output: StdoutOutput = about("Alerts on standard output.", StdoutOutput)
    file_output: FileOutput = about("Alerts as lines in a file.", FileOutput)
    syslog_output: SyslogOutput = about("Alerts to a syslog daemon.", SyslogOutput)
    slack_output: SlackOutput = about("Alerts as Slack messages.", SlackOutput)
    webhook_output: WebhookOutput = about("Alerts to an HTTP receiver.", WebhookOutput)
    apprise_output: AppriseOutput = about("Alerts to any of a hundred other services, by Apprise.", AppriseOutput)
    sinks: Mapping[str, NamedSection] = about(
        "Additional sinks, each with a name that `notifier`, routes and metrics use; type is file, slack, webhook,\n"
        "apprise or syslog, and the other keys are those of that type's ..._output. Enabled, unless enabled is false:\n"
        "{pagerduty: {type: webhook, url_file: /etc/lanner/pagerduty-url}}. Secrets also by\n"
        "$LANNER_SINK_PAGERDUTY_URL, ..._TOKEN and so on.",
        dict,
    )
    routes: tuple[RouteSetting, ...] = about(
        "Which alerts go to which sink; without routes, each enabled sink gets all:\n"
        "[{match: {priority: error, rule: 'Read*', tags: [t], host: 'web-*', namespace: prod}, sink: slack,\n"
        "channel: '#x'}].",
        (),
    )
    route_matching: RouteMatching = about("first: only the first route that matches applies; all: each does.", "all")
    mute: tuple[MuteSetting, ...] = about(
        "Alerts to count but not to send: [{match: {rule: X}, until: 2027-01-31T00:00:00Z, reason: why}].", ()
    )
    notifier: Notifier = about("Queues of alerts for sinks that are down.", Notifier)
    intake: IntakeSettings = about("Alerts that `notifier` accepts from Falco over HTTP.", IntakeSettings)
    console: ConsoleSettings = about("Alerts on pages in a browser.", ConsoleSettings)
    actions: ActionsSettings = about("How actions are requested: docs/actions.md.", ActionsSettings)
    cluster_name: str | None = about(
        "Name of the Kubernetes cluster; every alert contains it. Processors use it where the record of a pod, which\n"
        "`lanner kubernetes` writes, has no name of its own.",
        None,
    )
    host: HostSettings = about("Identity of this host in events.", HostSettings)
    collector: CollectorSection = about(
        "Buffers and batches of the collector, its pushdown filter, and its identity in the fleet.", CollectorSection
    )
    repeated_alerts: AlertRepeats = about(
        "When repeated alerts of one rule and host are counted instead of sent.", AlertRepeats
    )
    memory: StateFileSettings = about(
        "The state file of stateful rules, which `run` writes: windows, and counts of repeats.", StateFileSettings
    )
    first_seen: FirstSeenSettings = about(
        "What stateful macros of type first_seen may remember; use the same values for all processors.",
        FirstSeenSettings,
    )
    stateful_rules: StatefulRulesSettings = about(
        "What hosts may cause to the stateful rules of a fleet; use the same values for all processors.",
        StatefulRulesSettings,
    )
    hosts: HostsSettings = about(
        "When a host of a fleet counts as silent; use the same value for all processors.", HostsSettings
    )
    lag: LagSettings = about("When evaluation in a fleet counts as late; use the same value everywhere.", LagSettings)
    keep: RollingRecordingSettings = about(
        "A rolling recording of what `run` sees: its events and alerts, for `context`, `alerts list` and `replay`.",
        RollingRecordingSettings,
    )
    published_rules: PublishedRulesSettings = about(
        "Rules published by `lanner rules publish` for a whole fleet.", PublishedRulesSettings
    )
    kubernetes: KubernetesSettings = about(
        "What `lanner kubernetes` reads from the API server, and where processes elect the one that does.",
        KubernetesSettings,
    )
    kubernetes_audit: KubernetesAuditSettings = about(
        "Where `lanner intake kubernetes-audit` takes audit events from.", KubernetesAuditSettings
    )
    archive: ArchiveSettings = about(
        "Where `lanner archive` stores events and alerts, and for how long.", ArchiveSettings
    )
    json_sources: tuple[JsonSourceSetting, ...] = about(
        "Sources of events that are JSON, with their topics and mapping files of your own (docs/json-sources.md):\n"
        "[{source: github, topic: github-events}, {source: my_app, mapping: /etc/lanner/my_app.yaml}].",
        (),
    )
    kafka: KafkaSettings = about("The broker that connects the stages of a fleet; `run` needs none.", KafkaSettings)


KINDS: Mapping[str, type[NamedSection]] = {
    each.name.removesuffix("_output"): each.type
    for each in fields(Settings)
    if isinstance(each.type, type) and issubclass(each.type, NamedSection)
}
"""Kinds of sinks that may have several instances, by the `NAME_output` of the settings, in its order."""
SIEM = ("siem.falco", "siem.ecs", "siem.ocsf", "siem.cim")
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
