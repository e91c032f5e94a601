"""Every metric: its name, kind, labels and meaning. docs/operate.md says what to do about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bus.latency import BOUNDS, Histogram

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    kind: Kind
    about: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "lanner_build_info": Metric("gauge", "1; the labels say what runs.", ("stage", "version")),
    "lanner_events_total": Metric("counter", "Events that a stage took.", ("stage",)),
    "lanner_lost_events_total": Metric("counter", "What was lost, by reason.", ("stage", "reason")),
    "lanner_kernel_events_total": Metric("counter", "Events that the kernel side made.", ("outcome",)),
    "lanner_process_corrections_total": Metric("counter", "Processes read again or corrected from /proc.", ("cause",)),
    "lanner_container_queries_failed_total": Metric("counter", "Container queries without facts.", ("reason",)),
    "lanner_events_without_container_total": Metric("counter", "Events sent without container facts.", ("reason",)),
    "lanner_batches_delivered_total": Metric("counter", "Batches of events that the broker has."),
    "lanner_spool_bytes": Metric("gauge", "Batches that wait on disk for the broker, bytes."),
    "lanner_spool_limit_bytes": Metric("gauge", "What may wait on disk at most, bytes."),
    "lanner_spool_oldest_seconds": Metric("gauge", "Age of the oldest file in the spool; 0 where it is empty."),
    "lanner_alerts_total": Metric("counter", "Alerts made.", ("rule", "priority")),
    "lanner_repeated_alerts_total": Metric("counter", "Alerts counted because they repeat others.", ("rule",)),
    "lanner_host_alerts_total": Metric("counter", "Alerts made, by the host they are about.", ("hostname",)),
    "lanner_alert_latency_seconds": Metric("histogram", "From an event until its alert is on its way."),
    "lanner_rules": Metric("gauge", "Rules in force."),
    "lanner_rules_info": Metric("gauge", "1; the label is the version of the rules in force.", ("rules_version",)),
    "lanner_rule_seconds_total": Metric("counter", "What a rule would have cost by itself, by sample.", ("rule",)),
    "lanner_rule_errors_total": Metric("counter", "How often judging a rule or macro raised.", ("rule",)),
    "lanner_missing_group_fields_total": Metric("counter", "Events without a field that a window groups by."),
    "lanner_correlation_groups": Metric("gauge", "Windows and counts of repeats that are kept."),
    "lanner_correlation_evicted_total": Metric("counter", "Windows and counts of repeats that had to go."),
    "lanner_correlation_passed_over_total": Metric("counter", "Events that a window did not take.", ("reason",)),
    "lanner_events_redated_total": Metric("counter", "Events whose time could not be, set to the nearest that can."),
    "lanner_hosts_dropped_total": Metric("counter", "Hosts that are not kept track of any more, for want of room."),
    "lanner_consumer_lag": Metric("gauge", "Messages that are not through yet.", ("topic", "partition")),
    "lanner_dead_letters_total": Metric("counter", "Messages that could not be read or judged.", ("stage",)),
    "lanner_batches_total": Metric("counter", "Batches of events, by whether they are of their host.", ("outcome",)),
    "lanner_known_hosts": Metric("gauge", "Hosts that have a key, by who decided it.", ("state",)),
    "lanner_sink_alerts_total": Metric("counter", "What became of alerts at a sink.", ("sink", "outcome")),
    "lanner_sink_latency_seconds": Metric("histogram", "From an event until a sink took its alert.", ("sink",)),
    "lanner_sink_condition_faults_total": Metric("counter", "Conditions of routes or mutes that raised.", ("sink",)),
    "lanner_undelivered_alerts": Metric("gauge", "Alerts at hand that wait for a sink.", ("sink",)),
    "lanner_oldest_undelivered_seconds": Metric("gauge", "Age of the oldest that waits; 0 where none does.", ("sink",)),
    "lanner_intake_alerts_total": Metric("counter", "What became of alerts that came by HTTP.", ("outcome",)),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """A histogram as it stands."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """One a bound, and what was larger."""
    total: float


Value = float | Sizes
Readings = Mapping[str, Mapping[tuple[str, ...], Value]]
"""By metric: values of labels, in the order of the catalogue, to the value."""


def sizes(durations: Histogram) -> Sizes:
    """Give a histogram of durations."""
    return Sizes(BOUNDS, tuple(durations.counts), durations.seconds)
