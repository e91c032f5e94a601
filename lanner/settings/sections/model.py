"""Every setting with its type, its default and what it is for: the one place that says so.

Names are Falco's wherever the meaning is Falco's, so that what people know and have keeps working.
The comment that `lanner config default` prints above a setting is its `about`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lanner.settings.about import about
from lanner.settings.sections.delivery import MuteSetting, Notifier, RouteMatching, RouteSetting, SlackOutput
from lanner.settings.sections.hosts import HostsSettings, RollingRecordingSettings
from lanner.settings.sections.intake import IntakeSettings
from lanner.settings.sections.operations import Http
from lanner.settings.sections.published import PublishedRulesSettings
from lanner.settings.sections.webhook import AppriseOutput, WebhookOutput

SyslogTransport = Literal["local", "unix", "udp", "tcp", "tls"]
SyslogBody = Literal["text", "json", "cef"]
LineFormat = Literal["text", "json"]
LogFormat = Literal["console", "json"]
HostIdentity = Literal["off", "trust_on_first_use", "enrolled"]
LogLevel = Literal["debug", "info", "warning", "error"]
Matching = Literal["first", "all"]
SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]
Compression = Literal["zstd", "lz4", "none"]
PriorityName = Literal["emergency", "alert", "critical", "error", "warning", "notice", "informational", "info", "debug"]


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
    format: LineFormat | None = about("text or json; what json_output says, if not set.", None)
    rotate_mib: int | None = about("Begin a new file at this size, MiB; never, if not set.", None)
    keep: int = about("How many older files stay: filename.1 is the newest of them.", 5)


@dataclass(frozen=True, slots=True)
class SyslogOutput:
    """Alerts to a syslog daemon, the local one unless said otherwise."""

    enabled: bool = about("Send alerts to syslog.", default=False)
    socket: str = about("Datagram socket of the local daemon.", "/dev/log")
    transport: SyslogTransport = about(
        "local: as every program logs. unix, udp, tcp, tls: RFC 5424 with structured data; what can't be sent waits.",
        "local",
    )
    host: str = about("Where the daemon listens, for udp, tcp and tls.", "127.0.0.1")
    port: int | None = about("514, or 6514 for tls, if not set.", None)
    body: SyslogBody = about("What stands behind the structured data: text, json or cef.", "text")
    ca_file: str | None = about("PEM file of the authorities to trust; the system's, if not set.", None)
    certificate_file: str | None = about("PEM file of this client's certificate, where the daemon asks for one.", None)
    key_file: str | None = about("PEM file of its key.", None)


NamedSection = FileOutput | SlackOutput | WebhookOutput | AppriseOutput | SyslogOutput


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Under which names this host's events go."""

    id: str | None = about("Identity of the host; the machine id, if not set.", None)
    name: str | None = about("Name of the host; $LANNER_HOSTNAME, $FALCO_HOSTNAME or that of PID 1, if not set.", None)


@dataclass(frozen=True, slots=True)
class CollectorSection:
    """How much the collector holds in memory, how soon it lets go, and how it is known to the fleet."""

    ring_mib: int = about("Size of the ring buffer for events, MiB; a power of two.", 16)
    lifecycle_ring_mib: int = about("Size of the ring buffer for execs, forks and exits, MiB; a power of two.", 4)
    count_repeats: bool = about(
        "Of equal events that a process repeats within a second, send ten on each CPU, and the rest as one event with\n"
        "their number (evt.count).",
        default=True,
    )
    exact_paths: bool = about(
        "Take the paths that calls such as unlink, link, symlink and rename are given from the kernel's own copies,\n"
        "which no other thread can change meanwhile. Costs an open and close about 0.2 microseconds.",
        default=True,
    )
    batch_events: int = about("A batch is sent at this many events ...", 500)
    batch_ms: int = about(
        "... or this many milliseconds after its first one; small, since in one process a batch costs little.", 20
    )
    bpf_cache: str | None = about(
        "Compiled eBPF program for hosts without compiler or kernel headers, or a folder of such: what\n"
        "`lanner collector build-cache` made on a host with the same kernel.",
        None,
    )
    docker_socket: str = about("Where Docker is asked about containers.", "/var/run/docker.sock")
    container_parents: tuple[str, ...] = about(
        "Further cgroups below which runtimes make those of containers: docs/running.md. `*` stands for any part of\n"
        "one name, as in /user.slice/user-*.slice/user@*.service for rootless Podman.",
        (),
    )
    pushdown: bool = about(
        "Let the kernel leave out events that can't matter to any rule; `lanner rules pushdown` shows which.",
        default=True,
    )
    always_sent: tuple[str, ...] = about(
        "Event types that `lanner collector` sends whatever the rules ask: they show what led to an alert.",
        ("execve", "execveat", "procexit", "listen", "connect"),
    )
    identity: HostIdentity = about(
        "Whose batches processors accept; the same on all hosts and processors: docs/hosts.md. off: anybody's, under\n"
        "any host id. trust_on_first_use: those signed by the first key that a host came with, and unsigned ones of a\n"
        "host that never signed. enrolled: those signed by a key that `lanner hosts enroll` was told of.",
        "trust_on_first_use",
    )
    key_file: str | None = about(
        "File that holds the key of this host, made at the first start of `lanner collector`; host.key in\n"
        "kafka.spool_dir, if not set.",
        None,
    )


@dataclass(frozen=True, slots=True)
class AlertRepeats:
    """When alerts of one rule and host are counted instead of sent, because they repeat others."""

    enabled: bool = about("Count them; a summary with their number is sent for each period.", default=True)
    identical_of_process: int = about("Identical alerts of one process that are sent in a period.", 5)
    identical: int = about("Identical alerts of any process that are sent in a period.", 100)
    of_process: int = about("Alerts of one process that are sent in a period, whatever they say.", 100)
    period_seconds: int = about("How long a period is, s.", 60)


@dataclass(frozen=True, slots=True)
class StateFileSettings:
    """What rules with memory keep when `run` ends: windows, and counts of repeats."""

    enabled: bool = about("Keep it over a restart.", default=True)
    filename: str = about(
        "Where; written every 5 s and at the end, mode 0600. A kill may cost what came since.",
        "/var/lib/lanner/memory",
    )


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The broker that the stages of a fleet meet at; `run` needs none."""

    bootstrap_servers: str = about("Addresses of brokers, host:port, separated by commas.", "127.0.0.1:9092")
    prefix: str = about("Begins the names of all topics and groups: one prefixed ACL covers them.", "lanner.")
    security_protocol: SecurityProtocol = about(
        "plaintext, ssl, sasl_plaintext or sasl_ssl: whether traffic is encrypted and a password sent.", "plaintext"
    )
    sasl_mechanism: SaslMechanism = about("plain, scram-sha-256 or scram-sha-512.", "scram-sha-512")
    username: str | None = about("For SASL.", None)
    password_file: str | None = about("File that holds the password; or put it into $LANNER_KAFKA_PASSWORD.", None)
    ca_file: str | None = about("PEM file of the authorities to trust; the system's, if not set.", None)
    certificate_file: str | None = about("PEM file of this client's certificate, for mutual TLS.", None)
    key_file: str | None = about("PEM file of its key.", None)
    key_password_file: str | None = about(
        "File that holds the key's password; or put it into $LANNER_KAFKA_KEY_PASSWORD.", None
    )
    compression: Compression = about("zstd, lz4 or none.", "zstd")
    schema_registry_url: str | None = about(
        "Address (http, https) of a schema registry that speaks Confluent's API; with one, messages are written\n"
        "in Confluent's wire format. Both formats are read in any case. Wants: pip install 'lanner[registry]'.",
        None,
    )
    schema_registry_username: str | None = about("For HTTP basic authentication at the registry.", None)
    schema_registry_password_file: str | None = about(
        "File that holds the password; or put it into $LANNER_SCHEMA_REGISTRY_PASSWORD.", None
    )
    schema_registry_ca_file: str | None = about(
        "PEM file of the authorities to trust at the registry; the system's, if not set.", None
    )
    batch_ms: int = about("A collector sends a batch this many milliseconds after its first event, if not full.", 100)
    spool_dir: str = about("Where a collector keeps what the broker does not take yet.", "/var/lib/lanner/spool")
    spool_mib: int = about("How much may lie there, MiB; beyond it the oldest is dropped and counted.", 512)


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
    redact: tuple[str, ...] = about(
        "What is masked in alerts: RE2 patterns, each with one group, round what is not to be told. `default` stands\n"
        "for those that come with Lanner, see docs/settings.md: [default, 'mysql.* -p(\\S+)']. [] masks nothing.",
        ("default",),
    )
    json_output: bool = about("Alerts as JSON, one object a line, instead of text.", default=False)
    json_include_output_property: bool = about("Keep `output` in JSON.", default=True)
    json_include_output_fields_property: bool = about("Keep `output_fields` in JSON.", default=True)
    json_include_tags_property: bool = about("Keep `tags` in JSON.", default=True)
    time_format_iso_8601: bool = about("Date and time with zone before a text line, not just the time.", default=False)
    watch_config_files: bool = about("Read settings and rules again when their files change.", default=True)
    log_level: LogLevel = about("How much Lanner says about itself, on standard error.", "info")
    log_format: LogFormat | None = about(
        "console: for people; json: one object a line. What a terminal gets from `run`, if not set.", None
    )
    http: Http = about("Metrics and health, for Prometheus and whoever supervises.", Http)
    stdout_output: StdoutOutput = about("Alerts as lines on standard output.", StdoutOutput)
    file_output: FileOutput = about("Alerts as lines in a file.", FileOutput)
    syslog_output: SyslogOutput = about("Alerts to a syslog daemon.", SyslogOutput)
    slack_output: SlackOutput = about("Alerts as Slack messages.", SlackOutput)
    webhook_output: WebhookOutput = about("Alerts to an HTTP receiver.", WebhookOutput)
    apprise_output: AppriseOutput = about("Alerts to any of a hundred other services.", AppriseOutput)
    sinks: Mapping[str, NamedSection] = about(
        "More of a kind, each with a name that `notifier`, routes and metrics know; type is file, slack, webhook,\n"
        "apprise or syslog, and beside it stands what NAME_output of that type may hold. On, unless enabled is false:\n"
        "{pagerduty: {type: webhook, url_file: /etc/lanner/pagerduty-url}}. Secrets also by\n"
        "$LANNER_SINK_PAGERDUTY_URL, ..._TOKEN and so on.",
        dict,
    )
    routes: tuple[RouteSetting, ...] = about(
        "Which alerts go to which sink; without any, each sink that is on takes all:\n"
        "[{match: {priority: error, rule: 'Read*', tags: [t], host: 'web-*', namespace: prod}, sink: slack,\n"
        "channel: '#x'}].",
        (),
    )
    route_matching: RouteMatching = about("first: the first route that fits decides; all: each does.", "all")
    mute: tuple[MuteSetting, ...] = about(
        "Alerts that nobody is told of: [{match: {rule: X}, until: 2027-01-31T00:00:00Z, reason: why}].", ()
    )
    notifier: Notifier = about("How alerts wait for a sink that is down.", Notifier)
    intake: IntakeSettings = about("Alerts that `notifier` takes from Falco by HTTP.", IntakeSettings)
    host: HostSettings = about("Under which names this host's events go.", HostSettings)
    collector: CollectorSection = about(
        "How much the collector holds in memory, how soon it lets go, and how it is known to the fleet.",
        CollectorSection,
    )
    repeated_alerts: AlertRepeats = about(
        "When alerts of one rule and host are counted instead of sent, because they repeat others.", AlertRepeats
    )
    memory: StateFileSettings = about(
        "What rules with memory keep when `run` ends: windows, and counts of repeats.", StateFileSettings
    )
    hosts: HostsSettings = about("When a host of a fleet counts as silent; the same for all processors.", HostsSettings)
    keep: RollingRecordingSettings = about(
        "A rolling recording of what `run` sees, for `context` and `replay`.", RollingRecordingSettings
    )
    published_rules: PublishedRulesSettings = about(
        "Rules that `lanner rules publish` wrote for a whole fleet.", PublishedRulesSettings
    )
    kafka: KafkaSettings = about("The broker that the stages of a fleet meet at; `run` needs none.", KafkaSettings)
