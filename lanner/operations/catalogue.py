"""Every metric: name, type, labels and help text. docs/operate.md describes what to do about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from foundation.histogram import Histogram

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    kind: Kind
    about: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "lanner_build_info": Metric("gauge", "Always 1; the labels name stage and version.", ("stage", "version")),
    "lanner_events_total": Metric("counter", "Events processed by a stage.", ("stage",)),
    "lanner_lost_events_total": Metric("counter", "Events lost, by reason.", ("stage", "reason")),
    "lanner_kernel_events_total": Metric("counter", "Events in the kernel, by outcome.", ("outcome",)),
    "lanner_features_off": Metric("gauge", "Whether a feature is off under this kernel: 1 or 0.", ("feature",)),
    "lanner_process_corrections_total": Metric("counter", "Processes read again or corrected from /proc.", ("cause",)),
    "lanner_container_lookups_total": Metric("counter", "Look-ups of containers that have ended.", ("outcome",)),
    "lanner_container_unknown_seconds": Metric("gauge", "Age of the oldest container still unknown, seconds."),
    "lanner_events_without_container_total": Metric("counter", "Events sent without container facts.", ("reason",)),
    "lanner_program_lookups_total": Metric("counter", "Look-ups of programs that have ended.", ("outcome",)),
    "lanner_events_without_program_total": Metric(
        "counter", "Events sent without their program's origin.", ("reason",)
    ),
    "lanner_batches_delivered_total": Metric("counter", "Batches of events acknowledged by the broker."),
    "lanner_spool_bytes": Metric("gauge", "Size of the batches on disk that wait for the broker, bytes."),
    "lanner_spool_limit_bytes": Metric("gauge", "Maximum size of the spool, bytes."),
    "lanner_spool_oldest_seconds": Metric("gauge", "Age of the oldest file in the spool; 0 if empty."),
    "lanner_alerts_total": Metric("counter", "Alerts raised.", ("rule", "priority")),
    "lanner_repeated_alerts_total": Metric("counter", "Alerts suppressed as repeats.", ("rule",)),
    "lanner_host_alerts_total": Metric("counter", "Alerts raised, by host.", ("hostname",)),
    "lanner_alert_latency_seconds": Metric("histogram", "Latency from an event to the publication of its alert."),
    "lanner_rules": Metric("gauge", "Active rules."),
    "lanner_rules_info": Metric("gauge", "Always 1; the label is the version of the active rules.", ("rules_version",)),
    "lanner_rule_seconds_total": Metric(
        "counter", "CPU time of a rule evaluated by itself, estimated from samples.", ("rule",)
    ),
    "lanner_rule_errors_total": Metric("counter", "Exceptions while evaluating a rule or macro.", ("rule",)),
    "lanner_python_process_failures_total": Metric(
        "counter", "Processes of a Python rule file that failed.", ("file",)
    ),
    "lanner_python_process_seconds_total": Metric("counter", "Time spent on waiting for its functions.", ("file",)),
    "lanner_indicators": Metric("gauge", "Entries of a list of indicators.", ("list",)),
    "lanner_indicators_rejected": Metric("gauge", "Entries of its file that can't be used.", ("list",)),
    "lanner_indicators_age_seconds": Metric("gauge", "Time since its file was written or published.", ("list",)),
    "lanner_missing_group_fields_total": Metric("counter", "Events that lack a field of a window's group key."),
    "lanner_correlation_groups": Metric("gauge", "Correlation windows and repeat counts in memory."),
    "lanner_first_seen_values": Metric("gauge", "Values that macros of type first_seen know."),
    "lanner_correlation_evicted_total": Metric("counter", "Correlation groups evicted."),
    "lanner_correlation_left_out_total": Metric(
        "counter", "Events left out of windows because a budget of messages was used up, by whose it was.", ("level",)
    ),
    "lanner_correlation_passed_over_total": Metric("counter", "Events that a window ignored, by reason.", ("reason",)),
    "lanner_events_redated_total": Metric(
        "counter", "Events with an impossible time, set to the nearest possible one."
    ),
    "lanner_batches_replayed_total": Metric("counter", "Batches sent again after they had been evaluated."),
    "lanner_hosts_dropped_total": Metric("counter", "Hosts no longer tracked because the table is full."),
    "lanner_oldest_unevaluated_seconds": Metric(
        "gauge", "Age of the oldest message that is not evaluated.", ("topic", "partition")
    ),
    "lanner_consumer_lag": Metric("gauge", "Messages not yet acknowledged.", ("topic", "partition")),
    "lanner_dead_letters_total": Metric("counter", "Messages that could not be decoded or evaluated.", ("stage",)),
    "lanner_batches_total": Metric(
        "counter", "Batches of events, by the result of signature verification.", ("outcome",)
    ),
    "lanner_known_hosts": Metric("gauge", "Hosts with a key, by its state.", ("state",)),
    "lanner_sink_alerts_total": Metric("counter", "Alerts at a sink, by outcome.", ("sink", "outcome")),
    "lanner_sink_latency_seconds": Metric(
        "histogram", "Latency from an event to the acceptance of its alert by a sink.", ("sink",)
    ),
    "lanner_sink_condition_faults_total": Metric("counter", "Exceptions in conditions of routes and mutes.", ("sink",)),
    "lanner_undelivered_alerts": Metric("gauge", "Alerts in the queue of a sink.", ("sink",)),
    "lanner_oldest_undelivered_seconds": Metric(
        "gauge", "Age of the oldest alert in the queue; 0 if empty.", ("sink",)
    ),
    "lanner_problems": Metric(
        "gauge", "What isn't as it should be now: late evaluation, losses, sinks, disks.", ("subject",)
    ),
    "lanner_kubernetes_leader": Metric("gauge", "Whether this process leads: 1 or 0."),
    "lanner_kubernetes_objects": Metric("gauge", "Objects of the API server in memory, by kind.", ("resource",)),
    "lanner_kubernetes_lists_total": Metric("counter", "Lists read from the API server to their ends.", ("resource",)),
    "lanner_kubernetes_watch_restarts_total": Metric(
        "counter", "Watches of the API server that ended, by reason.", ("resource", "reason")
    ),
    "lanner_pods_written_total": Metric("counter", "Records of pods written, deletions included."),
    "lanner_pods_known": Metric("gauge", "Records of pods that a processor has."),
    "lanner_pods_refused_total": Metric("counter", "Records of pods that were not written or not stored.", ("reason",)),
    "lanner_pod_lookups_total": Metric(
        "counter", "Containers of pods in batches, by whether their pod was known.", ("outcome",)
    ),
    "lanner_sessions": Metric("gauge", "Commands in pods and logins whose person alerts name."),
    "lanner_sessions_evicted_total": Metric("counter", "Sessions, and what they are found by, evicted.", ("kind",)),
    "lanner_console_alerts": Metric("gauge", "Alerts that the view holds."),
    "lanner_console_alerts_taken_total": Metric("counter", "Alerts added to the view."),
    "lanner_console_requests_total": Metric("counter", "Requests answered, by status.", ("code",)),
    "lanner_console_sessions": Metric("gauge", "Sessions of people who signed in."),
    "lanner_console_live_pages": Metric("gauge", "Open pages with live updates."),
    "lanner_console_live_refused_total": Metric("counter", "Live updates that were refused or ended.", ("reason",)),
    "lanner_archive_messages_total": Metric(
        "counter", "Messages of a topic, by whether they were stored.", ("topic", "outcome")
    ),
    "lanner_archive_missed_total": Metric("counter", "Messages that the broker deleted before they were stored."),
    "lanner_archive_buffered_bytes": Metric("gauge", "Messages in memory that wait for their file, bytes."),
    "lanner_archive_newest_seconds": Metric("gauge", "Timestamp of the newest message stored, seconds since 1970."),
    "lanner_archive_free_bytes": Metric("gauge", "Free space where the archive's folder is, bytes."),
    "lanner_archive_files": Metric("gauge", "Files of the archive at the last look."),
    "lanner_archive_bytes": Metric("gauge", "Size of the archive at the last look, bytes."),
    "lanner_archive_files_total": Metric("counter", "Files stored, merged into others, and deleted.", ("outcome",)),
    "lanner_json_events_total": Metric("counter", "JSON events, by outcome.", ("outcome",)),
    "lanner_json_events_truncated_total": Metric("counter", "Events that were evaluated without some of their parts."),
    "lanner_audit_requests_total": Metric("counter", "Requests with audit events, by status of the answer.", ("code",)),
    "lanner_intake_alerts_total": Metric("counter", "Alerts received over HTTP, by outcome.", ("outcome",)),
    "lanner_connections_closed_total": Metric(
        "counter", "Connections that a server of this process closed, by reason.", ("server", "reason")
    ),
}
CLOSED = "lanner_connections_closed_total"


Value = float | Histogram
Readings = Mapping[str, Mapping[tuple[str, ...], Value]]
"""By metric: label values, in the order of the catalog, to the value."""


def closed_connections(server: str, closed: Mapping[str, int]) -> Mapping[tuple[str, ...], Value]:
    """Return the values of `CLOSED` for a server. closed: connections by reason."""
    return {(server, reason): number for reason, number in closed.items()}
