"""Simulates action policies on stored events: what each would have hit, and what it would have prevented.

Pure: takes alerts and batches from a backtest, returns counts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from foundation.caches import BoundedMap
from lanner.tuning.backtest import HOST, UNKNOWN_IMAGE
from processor.actions.planning import ActionTarget, PlannedAction, Planner, target_of
from processor.actions.policies import ActionPolicy, Fuse
from schemas.action import ActionIntent
from schemas.alert import Alert
from schemas.batch import EventBatch, Process

EXAMPLES = 5
_MAX_TARGETS = 100_000
"""Targets whose later events are counted; of more, those hit first are forgotten."""
_MAX_NAMES = 10_000
"""Hosts, workloads, users and refusals of a policy that are counted."""


@dataclass(slots=True)
class PolicyHits:
    """What one policy would have done."""

    policy: ActionPolicy
    alerts: int = 0
    """Those that requested it."""
    hits: int = 0
    """Different targets; one that is hit again while the action lasts counts once."""
    hosts: Counter[str] = field(default_factory=Counter)
    workloads: Counter[str] = field(default_factory=Counter)
    """By owner in Kubernetes, else by image; "host" outside of containers."""
    users: Counter[str] = field(default_factory=Counter)
    """By login name if the session has one."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    fuse: Fuse = field(init=False)
    prevented: int = 0
    """Events of the targets while the action would have lasted."""
    prevented_alerts: int = 0
    """Alerts about the targets in that time."""
    examples: list[PlannedAction] = field(default_factory=list)
    """The first ones, on different hosts or workloads where there are several."""

    def __post_init__(self) -> None:
        """Begin with the whole budget."""
        self.fuse = Fuse(self.policy.budget)

    @property
    def counts_prevented(self) -> bool:
        """True if the action would have ended or stopped a process, so that its later events can be counted."""
        return self.policy.type in ("kill", "freeze")


@dataclass(frozen=True, slots=True)
class _Hit:
    """One target, and from when to when the action would have lasted, ns since the epoch."""

    found: PolicyHits
    begin: int
    end: float


class Simulation:
    """Counts what planned actions would have hit; give it to a backtest as its observer."""

    def __init__(self, planner: Planner, policies: Iterable[ActionPolicy]) -> None:
        self.policies = {policy.name: PolicyHits(policy) for policy in policies}
        self._planner = planner
        self._hits: BoundedMap[tuple[str, ActionTarget], _Hit] = BoundedMap(_MAX_TARGETS)
        self._hosts: set[str] = set()
        """The ids of all hosts that sent events."""
        self._hit_hosts: set[str] = set()
        """The ids of hosts that have a target."""

    def take(self, alert: Alert) -> None:
        """Plan what an alert requests."""
        self._hosts.add(alert.host_id)
        for planned in self._planner.plan(alert):
            found = self.policies[planned.policy.name]
            found.alerts += 1
            if planned.intent.refusal:
                _add(found.refused, planned.intent.refusal)
            else:
                self._hit(found, planned)

    def _hit(self, found: PolicyHits, planned: PlannedAction) -> None:
        target = target_of(planned.intent)
        key = (planned.policy.name, target)
        time = planned.alert.time
        before = self._hits.get(key)
        if before is not None and before.begin <= time < before.end:
            found.prevented_alerts += 1
            return
        facts = planned.alert.stated
        workload = _shown_workload(planned.intent)
        if refusal := found.fuse.spend(planned.intent, time, len(self._hosts)):
            _add(found.refused, refusal)
            return
        lease = planned.policy.lease
        self._hits.put(key, _Hit(found, time, time + lease if lease else float("inf")))
        self._hit_hosts.add(target.host_id)
        found.hits += 1
        _add(found.hosts, planned.alert.hostname)
        _add(found.workloads, workload)
        _add(found.users, str(facts.get("user.loginname") or facts.get("user.name") or "unknown"))
        others = {(each.alert.hostname, _shown_workload(each.intent)) for each in found.examples}
        if len(found.examples) < EXAMPLES and (planned.alert.hostname, workload) not in others:
            found.examples.append(planned)

    def see(self, batch: EventBatch) -> None:
        """Count the events of a batch that actions would have prevented."""
        self._hosts.add(batch.host_id)
        if batch.host_id not in self._hit_hosts:
            return
        rows: dict[int, list[_Hit]] = {}
        names = [name for name, found in self.policies.items() if found.counts_prevented]
        for row, process in enumerate(batch.processes):
            hits = (self._hits.get((name, target)) for target in _targets(batch, process) for name in names)
            if found := [hit for hit in hits if hit is not None]:
                rows[row] = found
        if not rows:
            return
        columns = (batch.columns[name] for name in ("process", "time", "repeats"))
        for row, time, repeats in zip(*columns, strict=True):
            for hit in rows.get(row, ()):
                if hit.begin < time < hit.end:
                    hit.found.prevented += 1 + repeats


def _shown_workload(intent: ActionIntent) -> str:
    return intent.workload or (UNKNOWN_IMAGE if intent.container_id else HOST)


def _targets(batch: EventBatch, process: Process) -> Iterable[ActionTarget]:
    """Yield the targets that a process is part of."""
    host = batch.host_id
    if process.start_time is not None:
        yield ActionTarget("process", host, (process.pid, process.start_time))
    leader = None if process.session_leader < 0 else batch.processes[process.session_leader]
    if leader is not None and leader.start_time is not None:
        yield ActionTarget("session", host, (leader.pid, leader.start_time))
    if process.container >= 0:
        yield ActionTarget("container", host, (batch.containers[process.container].id,))


def _add(counts: Counter[str], name: str) -> None:
    if name in counts or len(counts) < _MAX_NAMES:
        counts[name] += 1
