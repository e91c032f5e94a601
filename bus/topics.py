"""All topics: names, partitions and retention.

One table, so that creating, checking and writing topics can't disagree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Cleanup = Literal["delete", "compact"]

EVENTS = "events"
CORRELATE = "correlate"
ALERTS = "alerts"
SIEM_FALCO, SIEM_ECS, SIEM_OCSF, SIEM_CIM = "siem.falco", "siem.ecs", "siem.ocsf", "siem.cim"
RULES = "rules"
PUSHDOWN_FILTERS = "interest"
PROCESSORS = "processors"
SCHEMAS = "schemas"
HOSTS, HOST_PINS, HOST_KEYS = "hosts", "host-pins", "host-keys"
"""Announcements of collectors, and the decisions of processors and operators about their keys."""
QUIET_HOSTS = "quiet-hosts"
"""The hosts that have sent nothing for a while, from each processor to the one that takes over its partitions."""
PODS = "pods"
"""Facts about each pod, from the Kubernetes API server."""
KUBERNETES_AUDIT = "kubernetes-audit"
"""Audit events of API servers about requests to them, one a message, JSON."""
SESSIONS = "sessions"
"""Records of people's sessions: requests for commands in pods, their processes, and logins by SSH."""
CONSOLE_MARKS, CONSOLE_AUDIT = "console-marks", "console-audit"
"""Decisions of people about alerts, and their actions, on the pages of `lanner console`."""
ACTION_REQUESTS = "action-requests"
"""What alerts request of each action policy, and decisions about its fuse, for the processor that owns its budget."""
ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS = "action-intents", "action-decisions", "action-results"
"""Signed records: what is to be done on which host, what people decided, and what hosts did."""
PROCESSOR_DEAD_LETTERS, NOTIFIER_DEAD_LETTERS = "dlq.processor", "dlq.notifier"

PROCESSOR_GROUP = "processor"
"""Faust's app id, without prefix: the consumer group, and the prefix of changelogs' names."""
CORRELATION_TABLE = "correlation"
"""The table of windows, repeats and known values."""
ACTIONS_TABLE = "actions"
"""The table of action policies' budgets."""

MAX_MESSAGE_BYTES = 4 << 20
"""A batch is cut at 512 kB of text; its rows, its columns and one last large event are extra."""
MAX_HOST_MESSAGE_BYTES = 64 << 10
"""Limit of a record of a host's key, of a pod or of a session: a few kilobytes may decompress to megabytes."""
BATCH_BYTES = MAX_HOST_MESSAGE_BYTES
"""The most that a client puts into one batch, unless it is a single message. The broker accepts or refuses whole
batches, and each topic accepts this much."""
_FROM_HOSTS = (HOSTS, HOST_PINS, HOST_KEYS, PODS, SESSIONS, ACTION_INTENTS, ACTION_DECISIONS, ACTION_RESULTS)
"""The topics of such records."""
_SEGMENT_BYTES = 64 << 20
_COMPACTION_LAG_MS = 300_000
APPEND_TIME = "LogAppendTime"
"""Kafka's name for messages that get their timestamps from the broker when it appends them."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def changelog(table: str) -> str:
    """Return the name of a Faust table's changelog, without prefix. Source: faust/tables/base.py."""
    return f"{PROCESSOR_GROUP}-{table}-changelog"


@dataclass(frozen=True, slots=True)
class TopicKind:
    """One row of the table."""

    name: str
    """Without prefix."""
    scales: bool
    """True if it has one partition per possible processor worker; otherwise it has one."""
    cleanup: Cleanup
    retention_ms: int | None = None
    """How long messages are retained; None for compacted topics."""
    append_time: bool = False
    """True if the broker sets the timestamps, so that a host's wrong clock can't affect retention or windows."""
    co_partitioned: bool = False
    """True if it must have as many partitions as the events topic, because it is used by partition number."""


TOPICS: tuple[TopicKind, ...] = (
    TopicKind(EVENTS, scales=True, cleanup="delete", retention_ms=DAY_MS, append_time=True, co_partitioned=True),
    TopicKind(CORRELATE, scales=True, cleanup="delete", retention_ms=DAY_MS, append_time=True, co_partitioned=True),
    TopicKind(
        KUBERNETES_AUDIT, scales=True, cleanup="delete", retention_ms=DAY_MS, append_time=True, co_partitioned=True
    ),
    TopicKind(changelog(CORRELATION_TABLE), scales=True, cleanup="compact", co_partitioned=True),
    TopicKind(ALERTS, scales=True, cleanup="delete", retention_ms=7 * DAY_MS),
    TopicKind(SIEM_FALCO, scales=True, cleanup="delete", retention_ms=7 * DAY_MS),
    TopicKind(SIEM_ECS, scales=True, cleanup="delete", retention_ms=7 * DAY_MS),
    TopicKind(SIEM_OCSF, scales=True, cleanup="delete", retention_ms=7 * DAY_MS),
    TopicKind(SIEM_CIM, scales=True, cleanup="delete", retention_ms=7 * DAY_MS),
    TopicKind(RULES, scales=False, cleanup="compact"),
    TopicKind(PUSHDOWN_FILTERS, scales=False, cleanup="compact"),
    TopicKind(PROCESSORS, scales=False, cleanup="compact"),
    TopicKind(SCHEMAS, scales=False, cleanup="compact"),
    TopicKind(HOSTS, scales=False, cleanup="compact"),
    TopicKind(HOST_PINS, scales=False, cleanup="compact"),
    TopicKind(HOST_KEYS, scales=False, cleanup="compact"),
    TopicKind(QUIET_HOSTS, scales=True, cleanup="delete", retention_ms=HOUR_MS, co_partitioned=True),
    TopicKind(PODS, scales=False, cleanup="compact"),
    TopicKind(SESSIONS, scales=False, cleanup="delete", retention_ms=7 * DAY_MS, append_time=True),
    TopicKind(CONSOLE_MARKS, scales=False, cleanup="compact"),
    TopicKind(CONSOLE_AUDIT, scales=False, cleanup="delete", retention_ms=365 * DAY_MS),
    TopicKind(
        ACTION_REQUESTS, scales=True, cleanup="delete", retention_ms=DAY_MS, append_time=True, co_partitioned=True
    ),
    TopicKind(changelog(ACTIONS_TABLE), scales=True, cleanup="compact", co_partitioned=True),
    TopicKind(ACTION_INTENTS, scales=False, cleanup="delete", retention_ms=30 * DAY_MS, append_time=True),
    TopicKind(ACTION_DECISIONS, scales=False, cleanup="compact", append_time=True),
    TopicKind(ACTION_RESULTS, scales=False, cleanup="delete", retention_ms=30 * DAY_MS, append_time=True),
    TopicKind(PROCESSOR_DEAD_LETTERS, scales=False, cleanup="delete", retention_ms=30 * DAY_MS),
    TopicKind(NOTIFIER_DEAD_LETTERS, scales=False, cleanup="delete", retention_ms=30 * DAY_MS),
)

ALL_TOPICS = tuple(kind.name for kind in TOPICS)
RETAINED_AS_EVENTS = frozenset({EVENTS, CORRELATE, KUBERNETES_AUDIT})
"""The topics whose retention `--events-retention` sets."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic to create."""

    kind: TopicKind
    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


def plan(prefix: str, partitions: int, replication: int, events_retention_ms: int) -> tuple[TopicPlan, ...]:
    """Return the plan of each topic.

    Args:
        prefix: prefix of all names.
        partitions: partitions of the scaling topics: the most processors that can share the work.
        replication: number of brokers that have a copy of each message.
        events_retention_ms: retention of events, and of events that wait for correlation.
    """
    return tuple(_plan(kind, prefix, partitions, replication, events_retention_ms) for kind in TOPICS)


def _plan(kind: TopicKind, prefix: str, partitions: int, replication: int, events_retention_ms: int) -> TopicPlan:
    config = {
        "cleanup.policy": kind.cleanup,
        "max.message.bytes": str(MAX_HOST_MESSAGE_BYTES if kind.name in _FROM_HOSTS else MAX_MESSAGE_BYTES),
        "min.insync.replicas": "2" if replication > 2 else "1",
    }
    if kind.retention_ms is not None:
        retention = events_retention_ms if kind.name in RETAINED_AS_EVENTS else kind.retention_ms
        config["retention.ms"] = str(retention)
    if kind.scales and kind.cleanup == "compact":
        # A new owner of a partition reads everything that is not compacted, and the newest segment never is.
        config["segment.bytes"] = str(_SEGMENT_BYTES)
        # A former owner that hung may write late; the new owner has this long to notice and repair it.
        config["min.compaction.lag.ms"] = str(_COMPACTION_LAG_MS)
    if kind.append_time:
        config["message.timestamp.type"] = APPEND_TIME
    return TopicPlan(kind, f"{prefix}{kind.name}", partitions if kind.scales else 1, replication, config)


@dataclass(frozen=True, slots=True)
class TopicState:
    """The state of one topic at the broker."""

    name: str
    partitions: int
    replication: int
    cleanup: str | None
    """None if this client may not see it."""
    retention_ms: int | None
    timestamps: str | None = None
    """Its message.timestamp.type; None if this client may not see it."""
    brokers: int = 3
    """How many brokers there are."""


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """A topic that is missing, or a setting of a topic that is wrong (fatal) or inadvisable."""

    topic: str
    text: str
    fatal: bool


def check_topics(
    prefix: str, states: Mapping[str, TopicState], bare_names: Iterable[str] = ALL_TOPICS
) -> list[TopicProblem]:
    """Compare the broker's topics with the table; `events` determines the number of partitions.

    Args:
        prefix: prefix of all names.
        states: the broker's topics by full name.
        bare_names: the topics to check, without prefix.
    """
    events = states.get(f"{prefix}{EVENTS}")
    found: list[TopicProblem] = []
    single: list[str] = []
    names = frozenset(bare_names)
    for kind in TOPICS:
        if kind.name not in names:
            continue
        name = f"{prefix}{kind.name}"
        state = states.get(name)
        if state is None:
            found.append(TopicProblem(name, f"topic {name} does not exist", fatal=True))
        else:
            found.extend(_faults(kind, state, events))
            # With a single broker, there can't be more.
            if state.replication == 1 < state.brokers:
                single.append(name)
    if single:
        others = f" and {len(single) - 1} others have" if len(single) > 1 else " has"
        text = f"topic {single[0]}{others} only one replica: if its broker fails, the messages are lost"
        found.append(TopicProblem(single[0], text, fatal=False))
    return found


def _faults(kind: TopicKind, state: TopicState, events: TopicState | None) -> Iterable[TopicProblem]:
    name = state.name
    if not kind.scales and state.partitions != 1:
        yield TopicProblem(name, f"topic {name} has {state.partitions} partitions and must have 1", fatal=True)
    if kind.co_partitioned and events is not None and state.partitions != events.partitions:
        yield TopicProblem(
            name,
            f"topic {name} has {state.partitions} partitions and must have {events.partitions}, as {events.name} has",
            fatal=True,
        )
    if state.cleanup is not None and state.cleanup != kind.cleanup:
        yield TopicProblem(
            name, f"topic {name} has cleanup.policy={state.cleanup} and must have {kind.cleanup}", fatal=True
        )
    if kind.append_time and state.timestamps not in (None, APPEND_TIME):
        yield TopicProblem(
            name,
            f"topic {name} has message.timestamp.type={state.timestamps} and must have {APPEND_TIME}; otherwise any"
            f" host could set the time at which windows and repeats end (kafka-configs.sh --alter --topic {name}"
            f" --add-config message.timestamp.type={APPEND_TIME})",
            fatal=True,
        )
    if kind.name in RETAINED_AS_EVENTS and state.retention_ms is not None and 0 <= state.retention_ms < HOUR_MS:
        retained = state.retention_ms // 60_000
        yield TopicProblem(
            name,
            f"topic {name} retains messages for {retained} min: events that wait longer for a processor are lost",
            fatal=False,
        )
