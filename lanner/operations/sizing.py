"""Compute what a fleet needs: processor cores, memory, disk, network and money. Pure: takes figures, returns figures.

The costs were measured; docs/performance.md lists each with its command. A batch costs much and an event in it little,
so the number of batches decides: a collector sends one at the latest `batch_ms` after its first event.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

DAY_SECONDS = 86_400
MONTH_HOURS = 730
GB = 10**9
MB = 10**6


@dataclass(frozen=True, slots=True)
class StageCosts:
    """The cost of each part; seconds are processor time of one core."""

    collector_event_seconds: float = 7.4e-6
    """From the ring to a row of a batch: `python -m bench hot_path`, files that differ."""
    collector_batch_seconds: float = 230e-6
    """Encoding, signing and producing a batch: `python -m bench.batch_cost`, `python -m bench.signatures`."""
    collector_idle_cores: float = 0.0026
    """`python -m bench.idle`."""
    collector_memory_bytes: int = 62 * MB
    """`python -m bench.memory`; the kernel has another 20 MiB of rings."""
    batch_bytes: int = 1_120
    """A batch without events on the broker, compressed: `python -m bench.batch_cost`."""
    event_bytes: int = 34
    """An event in a batch: `python -m bench.batch_cost`."""
    batch_events: int = 500
    """A batch is sent at this many events."""
    heartbeat_seconds: float = 15.0
    """An idle host sends a batch this often."""
    processor_batch_seconds: float = 370e-6
    """Fetching, decoding and committing a batch: `python -m bench.fleet_hosts`."""
    verification_seconds: float = 100e-6
    """Verifying the signature of a batch: `python -m bench.signatures`."""
    processor_event_seconds: float = 2.3e-6
    """Evaluating the built-in rules: `python -m bench.batch_cost`."""
    pre_match_seconds: float = 300e-6
    """Writing and reading an event that a stateful rule may need."""
    processor_memory_bytes: int = 116 * MB
    """Without hosts: `python -m bench.fleet_hosts`."""
    host_memory_bytes: int = 4_400
    """The memory of a processor for a host, from `python -m bench.fleet_hosts`."""
    group_memory_bytes: int = 920
    """A group of a stateful macro, with its window: `python -m bench.correlation_groups`."""
    value_memory_bytes: int = 164
    """A value that a macro of type first_seen remembers: `python -m bench first_seen`."""
    broker_batch_seconds: float = 140e-6
    """A batch of a producer of its own, without replication: `python -m bench.fleet_hosts`."""
    broker_memory_bytes: int = 4 * GB
    """Heap and page cache of one broker. An assumption: Kafka's documentation recommends more for long backlogs."""
    alert_bytes: int = 1_100
    """An alert with its event: `python -m bench waiting`."""
    notifier_alerts_per_second: int = 1_900
    """The slowest sink without a limit of its own, a webhook: `python -m bench notifier`."""
    notifier_memory_bytes: int = 56 * MB
    """`python -m bench waiting`."""
    archived_event_bytes: int = 51
    """An event in a merged file of an archive: `python -m bench.archive`."""
    archived_batch_bytes: int = 35
    """The row of a batch there, from the same files."""
    archive_event_seconds: float = 55e-6
    """Storing and merging an event: `python -m bench.archive`."""
    archive_memory_bytes: int = 310 * MB
    """`python -m bench.archive`, with archive.buffer_mib 64, beside that of a processor without hosts."""


MEASURED = StageCosts()


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The fleet to compute for."""

    hosts: int
    events_per_host: float
    """Events per second that a host sends, on average over the day, after the kernel has dropped the others."""
    batch_ms: int = 100
    """The setting kafka.batch_ms."""
    retention_hours: float = 24
    """How long the events topic retains events."""
    replicas: int = 3
    """Copies of each message."""
    load: float = 0.6
    """The planned share of each core in use, so that bursts and the failure of a machine find room."""
    pre_matched: float = 0.001
    """Share of the events that stateful rules need."""
    groups_per_host: float = 10
    """Groups of stateful macros whose windows are open. An assumption: each macro has at most a few for a host."""
    values: int = 1_000_000
    """Values that macros of type first_seen remember, in the whole fleet."""
    alerts_per_host: float = 1.0
    """Alerts that a host raises a day."""
    broker_cores: int = 4
    """Cores of a broker's machine."""
    archive_days: float = 0
    """How long an archive stores events and alerts; 0 for a fleet without one."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of resources, in any currency."""

    core_month: float = 0.0
    gb_month: float = 0.0
    """One GB of disk for a month."""
    network_gb: float = 0.0
    """One GB between machines."""


@dataclass(frozen=True, slots=True)
class PartNeeds:
    """The resources of one part of the fleet, all its instances together."""

    name: str
    instances: int
    cores: float
    """In use, on average."""
    memory_bytes: float
    disk_bytes: float = 0.0
    sent_bytes: float = 0.0
    """A second, to other machines."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """The computed needs."""

    parts: Sequence[PartNeeds]
    events: float
    """A second, of the whole fleet."""
    batches: float
    """A second, of the whole fleet."""
    partitions: int
    """To create the topics with."""
    planned_cores: float
    """For brokers, processors, notifiers and an archive at the planned load; the collectors' cores are the hosts'."""
    cost_month: float


def size_fleet(plan: FleetPlan, prices: Prices) -> Sizing:
    """Compute what a fleet needs, and what it costs."""
    events = plan.hosts * plan.events_per_host
    batches = plan.hosts * batches_per_host(plan.events_per_host, plan.batch_ms / 1000)
    stored = batches * MEASURED.batch_bytes + events * MEASURED.event_bytes
    pre_matched = events * plan.pre_matched
    alerts = plan.hosts * plan.alerts_per_host / DAY_SECONDS
    collectors = PartNeeds(
        "collectors",
        plan.hosts,
        plan.hosts * MEASURED.collector_idle_cores
        + events * MEASURED.collector_event_seconds
        + batches * MEASURED.collector_batch_seconds,
        plan.hosts * MEASURED.collector_memory_bytes,
        sent_bytes=stored,
    )
    parts = (
        collectors,
        _brokers(plan, batches + pre_matched + alerts, stored + (pre_matched + alerts) * MEASURED.alert_bytes),
        _processors(plan, events, batches),
        _notifiers(alerts),
        *([_archive(plan, events, batches, alerts)] if plan.archive_days else ()),
    )
    planned = sum(part.cores for part in parts[1:]) / plan.load
    return Sizing(
        parts,
        events,
        batches,
        _partitions(parts[2].instances),
        planned,
        planned * prices.core_month
        + sum(part.disk_bytes for part in parts) / GB * prices.gb_month
        + sum(part.sent_bytes for part in parts) * MONTH_HOURS * 3600 / GB * prices.network_gb,
    )


def batches_per_host(events: float, batch_seconds: float) -> float:
    """Return how many batches a host sends a second, if its events come independently of each other.

    Events come in bursts, so hosts send fewer: this is the most. batch_seconds: how long a batch waits for more events
    after its first one; half as long if many come.
    """
    # A batch takes the wait for its first event and the time for more. Without any, a heartbeat is sent.
    wait = batch_seconds if events < MEASURED.batch_events else batch_seconds / 2
    by_time = events / (1 + events * wait)
    by_count = events / MEASURED.batch_events
    return max(by_time, by_count, 1 / MEASURED.heartbeat_seconds)


def _brokers(plan: FleetPlan, messages: float, stored: float) -> PartNeeds:
    # Followers fetch in large requests; leading a partition costs most. Each further copy counts half.
    cores = messages * MEASURED.broker_batch_seconds * (1 + (plan.replicas - 1) / 2)
    instances = max(plan.replicas, math.ceil(cores / (plan.load * plan.broker_cores)))
    # A quarter more: segments that wait for their deletion, and all other topics.
    disk = stored * plan.retention_hours * 3600 * plan.replicas * 1.25
    # To the other copies, and to the processors.
    return PartNeeds(
        "brokers", instances, cores, instances * MEASURED.broker_memory_bytes, disk, stored * plan.replicas
    )


def processor_cores(batches: float, events: float, pre_matched: float, *, signed: bool = True) -> float:
    """Return how many cores processors use for so many batches and events a second.

    pre_matched: events a second that stateful rules need. signed: whether the batches' signatures are verified.
    """
    each = MEASURED.processor_batch_seconds + signed * MEASURED.verification_seconds
    return batches * each + events * MEASURED.processor_event_seconds + pre_matched * MEASURED.pre_match_seconds


def _processors(plan: FleetPlan, events: float, batches: float) -> PartNeeds:
    cores = processor_cores(batches, events, events * plan.pre_matched)
    # One more, so that one may fail.
    instances = max(2, math.ceil(cores / plan.load) + 1)
    memory = (
        instances * MEASURED.processor_memory_bytes
        + plan.hosts * (MEASURED.host_memory_bytes + plan.groups_per_host * MEASURED.group_memory_bytes)
        + plan.values * MEASURED.value_memory_bytes
    )
    written = events * plan.pre_matched * MEASURED.alert_bytes
    return PartNeeds("processors", instances, cores, memory, sent_bytes=written)


def _notifiers(alerts: float) -> PartNeeds:
    cores = alerts / MEASURED.notifier_alerts_per_second
    instances = max(1, math.ceil(2 * cores))
    return PartNeeds(
        "notifiers",
        instances,
        cores,
        instances * MEASURED.notifier_memory_bytes,
        sent_bytes=alerts * MEASURED.alert_bytes,
    )


def _archive(plan: FleetPlan, events: float, batches: float, alerts: float) -> PartNeeds:
    cores = events * MEASURED.archive_event_seconds + batches * MEASURED.processor_batch_seconds
    instances = max(1, math.ceil(cores / plan.load))
    stored = events * MEASURED.archived_event_bytes + batches * MEASURED.archived_batch_bytes
    stored += alerts * MEASURED.alert_bytes
    disk = stored * plan.archive_days * DAY_SECONDS
    # To the folder's or the bucket's machine: each file once, and again when it is merged.
    return PartNeeds("archive", instances, cores, instances * MEASURED.archive_memory_bytes, disk, 2 * stored)


def _partitions(processors: int) -> int:
    """Return the next power of two of four times the processors: the number can't be changed later."""
    return max(8, 1 << math.ceil(math.log2(4 * processors)))
