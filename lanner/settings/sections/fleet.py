"""Settings of a fleet: hosts, lag, rolling recordings, published rules, topics of JSON, and actions."""

from collections.abc import Iterable
from dataclasses import dataclass

from lanner.settings import forms
from lanner.settings.forms import about
from schemas.action import HostActionType
from schemas.catalog.priorities import PriorityName


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """When a host of a fleet counts as silent; use the same value for all processors."""

    silent_seconds: int = about(
        "A host that sent nothing for this long is silent; idle hosts send a heartbeat every 15 s.", 120
    )


@dataclass(frozen=True, slots=True)
class LagSettings:
    """When evaluation in a fleet counts as late; use the same value everywhere."""

    seconds: int = about("Age of the oldest event that is not evaluated from which this is reported.", 30)


@dataclass(frozen=True, slots=True)
class RollingRecordingSettings:
    """A rolling recording of what `run` sees: its events and alerts, for `context`, `alerts list` and `replay`."""

    size_mib: int = about("Maximum size, MiB; 0 records nothing. Also: `run --keep 256MB`.", 64, form=forms.number)
    folder: str = about(
        "Folder of the recording; mode 0700, its files 0600. Two processes can't record to the same one.",
        "/var/lib/lanner/kept",
        form=forms.path,
    )
    indicator_search: bool = about(
        "Search it for the entries that lists of indicators gain, when their files change.", default=False
    )


@dataclass(frozen=True, slots=True)
class PythonRulesSettings:
    """What the process of a Python rule file may take."""

    seconds: int = about("Seconds for the events of a batch; then the process is ended and the events are skipped.", 2)
    memory_mib: int = about("Address space, MiB; the interpreter takes some 60 of it.", 256)


@dataclass(frozen=True, slots=True)
class RulesBudget:
    """Limits on the cost of a published version; `lanner rules cost` measures it on stored events."""

    alerts_per_day: int = about("Alerts a day, of all hosts; 0 is no limit.", 0, form=forms.number)
    events_per_host_per_day: int = about(
        "Events a day that a host sends, on average; 0 is no limit.", 0, form=forms.number
    )
    nanoseconds_per_event: int = about(
        "Processor time of an event in a processor; 0 is no limit.", 0, form=forms.number
    )
    state_groups: int = about(
        "Windows, repeats and known values of stateful rules at a time; 0 is no limit.", 0, form=forms.number
    )
    hours: int = about("Events of this many hours are evaluated.", 24)


@dataclass(frozen=True, slots=True)
class BacktestLimit:
    """The most alerts that new and changed rules may raise on one day."""

    priority: PriorityName = about("Rules of this priority or higher.", "debug")
    alerts_per_day: int = about("Their alerts on the day with most of them, of all hosts.", 0, form=forms.number)


@dataclass(frozen=True, slots=True)
class BacktestSettings:
    """What `lanner rules publish` demands of rules that are new or changed: docs/backtesting.md."""

    store: str = about(
        "Where events are stored: an archive, as a folder or s3://BUCKET/PATH; or topic, for those that the fleet's\n"
        "topics retain. If set, a version is published only after a backtest, and `lanner rules tune` does one, too.",
        "",
    )
    since: str = about("How far back: a duration.", "30d", form=forms.duration)
    limits: tuple[BacktestLimit, ...] = about(
        "Limits that `lanner rules publish` exceeds only with --force, of --backtest, too.", ()
    )


@dataclass(frozen=True, slots=True)
class PublishedRulesSettings:
    """Published rules: whether to use them, and whose signatures to accept."""

    enabled: bool = about(
        "Processors run the published version, if there is one, instead of rule files; collectors send what published\n"
        "versions need.",
        default=True,
    )
    public_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys: if any is set, a processor accepts only rules signed by one of them.", ()
    )
    state_dir: str = about(
        "Folder where a processor with public_key_files stores the newest version that it accepted; it refuses older\n"
        "ones, regardless of who publishes them again.",
        "/var/lib/lanner/processor",
    )
    indicator_folders: tuple[str, ...] = about(
        "Folders of a processor: files of indicators that published rules name by absolute paths must be below one of\n"
        "them, so that whoever publishes rules can read no other file.",
        ("/etc/lanner/indicators", "/var/lib/lanner/indicators"),
    )
    unsigned_python: bool = about(
        "Publish and run versions with Python rule files that nobody signed. Without it, a processor refuses them,\n"
        "also if it has no public_key_files.",
        default=False,
    )
    wait_seconds: int = about(
        "How long a processor waits until every live host sends what a new version needs; then it switches and\n"
        "reports the hosts that didn't.",
        60,
    )
    budget: RulesBudget = about(
        "Limits that `lanner rules publish` exceeds only with --force; it measures them if one is set.", RulesBudget
    )
    backtest: BacktestSettings = about(
        "What `lanner rules publish` evaluates on stored events first, and how much may alert.", BacktestSettings
    )


@dataclass(frozen=True, slots=True)
class JsonSourceSetting:
    """One source of events that are JSON, other than Kubernetes audit events."""

    source: str | None = about(
        "Its name, as rules write it: github, aws_cloudtrail, okta, sshd, json, or what the mapping file defines.", None
    )
    mapping: str | None = about(
        "File that says where time, host, user and key are, and defines fields; for a source with a shipped mapping,\n"
        "it replaces parts of that.",
        None,
        form=forms.path,
    )
    topic: str | None = about(
        "Topic that holds its events as JSON, complete with prefix; processors read it, and need the right to.", None
    )


@dataclass(frozen=True, slots=True)
class HostActionsSettings:
    """What may be done on this host because of an alert, or by a person: docs/actions.md."""

    enabled: tuple[HostActionType, ...] = about(
        "Types of actions that are done here: kill, freeze, isolate, quarantine, lock, collect. None unless named.", ()
    )
    socket: str = about(
        "Socket of `lanner actions serve`, which does them.", "/run/lanner-actions/socket", form=forms.path
    )
    state_dir: str = about(
        "Folder that records what was done, so that it is done once, and what undoes it.",
        "/var/lib/lanner-actions",
        form=forms.path,
    )
    processor_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of processors: their intents are accepted. Not for `run`.", ()
    )
    people_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of people, each named after the person, such as ann.pub: what a key signs\n"
        "is the decision of that person. Not for `run`.",
        (),
    )
    console_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of consoles and of notifiers that ask in Slack, which state who decided.", ()
    )
    reachable: tuple[str, ...] = about(
        "Networks that an isolated container or host still reaches, such as 10.0.0.0/24; an isolated host always\n"
        "reaches the brokers.",
        (),
    )
    reach_dns: bool = about("Whether it still reaches name servers.", default=False)
    never_users: tuple[str, ...] = about("Users that are never locked, whatever a policy states; * is any text.", ())
    never_containers: tuple[str, ...] = about(
        "Names of containers that are never frozen or isolated, whatever a policy states; * is any text.", ()
    )
    max_lease: str = about("An action that ends by itself lasts at most so long.", "1d", form=forms.duration)
    host_approvals: int = about(
        "How many persons have to agree before the whole host is isolated, whatever a policy states; who requests it\n"
        "by hand is one of them.",
        0,
        form=forms.number,
    )


@dataclass(frozen=True, slots=True)
class ActionsSettings:
    """How processors and consoles of a fleet request actions."""

    key_file: str | None = about(
        "PEM file of this processor's or console's Ed25519 private key, which signs intents and decisions; hosts\n"
        "list its public key. Without one, a processor only states what it would do.",
        None,
    )
    people_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of people, each named after the person, whose decisions about fuses and\n"
        "simulations are accepted.",
        (),
    )
    console_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of consoles whose decisions about fuses are accepted.", ()
    )
    cluster_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys with which `lanner kubernetes` signs results.", ()
    )
    state_dir: str = about(
        "Folder in which `run` records intents, decisions and results.", "/var/lib/lanner/actions", form=forms.path
    )
    simulations_dir: str = about(
        "Folder of recorded simulations; `lanner rules publish` needs an accepted one of each policy that may do more.",
        "/var/lib/lanner/simulations",
        form=forms.path,
    )


def json_topic_names(sources: Iterable[JsonSourceSetting]) -> tuple[str, ...]:
    """Return the topics that processors read, complete with prefix."""
    return tuple(each.topic for each in sources if each.topic is not None)
