"""Settings of rules published by `lanner rules publish`."""

from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class RulesBudget:
    """What a published version may cost; `lanner rules cost` measures it on stored events."""

    alerts_per_day: int = about("Alerts a day, of all hosts; 0 is no limit.", 0, form=values.number)
    events_per_host_per_day: int = about(
        "Events a day that a host sends, on average; 0 is no limit.", 0, form=values.number
    )
    nanoseconds_per_event: int = about(
        "Processor time of an event in a processor; 0 is no limit.", 0, form=values.number
    )
    state_groups: int = about(
        "Windows, repeats and known values of stateful rules at a time; 0 is no limit.", 0, form=values.number
    )
    hours: int = about("Events of this many hours are evaluated.", 24)


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
    wait_seconds: int = about(
        "How long a processor waits until every live host sends what a new version needs; then it switches and\n"
        "reports the hosts that didn't.",
        60,
    )
    budget: RulesBudget = about(
        "Limits that `lanner rules publish` exceeds only with --force; it measures them if one is set.", RulesBudget
    )
