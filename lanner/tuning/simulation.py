"""Simulates action policies on stored events: what each would have hit, and what it would have prevented.

A recorded simulation is a file that states which policies, in which state and with which rules, were simulated on which
events, and what they would have hit. A person who accepts it signs all of that, which a policy needs before it may act.
So the file may be copied, reviewed and committed.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.caches import BoundedMap
from foundation.files import write_atomically
from foundation.quantities import date_and_time_seconds
from foundation.text import count_of
from lanner.errors import BadInput
from lanner.tuning.backtest import HOST, UNKNOWN_IMAGE
from processor.actions.planning import ActionTarget, PlannedAction, Planner, target_of
from processor.actions.policies import ActionPolicy, Fuse
from processor.loading.difference import PolicyPower
from schemas.action import ActionIntent
from schemas.alert import Alert
from schemas.batch import EventBatch, Process

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EXAMPLES = 5
_MAX_TARGETS = 100_000
"""Targets whose later events are counted; of more, those hit first are forgotten."""
_MAX_NAMES = 10_000
"""Hosts, workloads, users and refusals of a policy that are counted."""
SIMULATION_DOMAIN = b"lanner action simulation\0"
_MAX_BYTES = 1 << 20
_MAX_FILES = 1000
_NS_PER_MS = 1_000_000
_MODE = 0o644


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


@dataclass(frozen=True, slots=True)
class SimulatedPolicy:
    """One policy, and what it would have done."""

    action: str
    does: str
    """Its type and target."""
    state: str
    digest: str
    """That of the policy and its rules: `PolicyPower.digest`."""
    rules: int
    alerts: int
    targets: int
    hosts: int
    refused: int
    fuse_blown: str
    """When and why; empty if it wouldn't have."""

    @property
    def text(self) -> str:
        """The policy on one line, for people."""
        blown = f", and the fuse would have blown: {self.fuse_blown}" if self.fuse_blown else ""
        targets, hosts = count_of(self.targets, "target"), count_of(self.hosts, "host")
        hit = f"{targets} on {hosts}, {self.refused:,} refused{blown}"
        return f"{self.action}: {self.does}, state {self.state}, for {count_of(self.rules, 'rule')}: {hit}"


@dataclass(frozen=True, slots=True)
class SimulationRecord:
    """One simulation."""

    since: int
    """Wall clock, ms since the epoch, as `until`."""
    until: int
    events: int
    hosts: int
    """Those that sent events."""
    by: str
    at: int
    """Wall clock, ns since the epoch."""
    not_seen: int
    """Remarks about what was not collected."""
    policies: tuple[SimulatedPolicy, ...]

    @property
    def id(self) -> str:
        """Its name, which depends on all of it."""
        begun = "".join(filter(str.isdigit, date_and_time_seconds(self.at, utc=True)))
        return f"{begun}-{blake2b(_encoded(asdict(self)), digest_size=4).hexdigest()}"

    @property
    def range_text(self) -> str:
        """Which events were evaluated, for people."""
        start, end = (date_and_time_seconds(at * _NS_PER_MS, utc=True) for at in (self.since, self.until))
        return f"{count_of(self.events, 'event')} of {count_of(self.hosts, 'host')}, {start} to {end} (UTC)"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A person's signature of a simulation."""

    by: str
    at: int
    """Wall clock, ns since the epoch. A claim."""
    signature: str
    """Hexadecimal."""


@dataclass(frozen=True, slots=True)
class RecordedSimulation:
    """A simulation with those who accepted it."""

    record: SimulationRecord
    accepted: tuple[Acceptance, ...] = ()

    def accept(self, by: str, at: int, key: "Ed25519PrivateKey") -> "RecordedSimulation":
        """Return the simulation with one more signature."""
        unsigned = Acceptance(by, at, "")
        # A simulation is recorded without the library for signatures.
        from bus import signatures  # noqa: PLC0415

        signature = signatures.sign(key, SIMULATION_DOMAIN, _signed(self.record, unsigned)).hex()
        return replace(self, accepted=(*self.accepted, replace(unsigned, signature=signature)))

    def signers(self, keys: "Sequence[Ed25519PublicKey]") -> Iterator[tuple[Acceptance, str]]:
        """Yield each acceptance that one of the keys signed, with the id of that key."""
        from bus import signatures  # noqa: PLC0415

        for each in self.accepted:
            signed = _signed(self.record, each)
            if signer := signatures.signer(keys, bytes.fromhex(each.signature), SIMULATION_DOMAIN, signed):
                yield each, signer


def write_simulation(folder: Path, simulation: RecordedSimulation) -> Path:
    """Write a simulation, over an earlier state of the same one; return its file. Raises BadInput."""
    path = folder / f"{simulation.record.id}.json"
    content = json.dumps(asdict(simulation), indent=1).encode()
    try:
        # Whoever publishes reads it as well, and nothing of it is secret.
        write_atomically(path, [content, b"\n"], mode=_MODE)
    except OSError as error:
        raise BadInput(f"actions.simulations_dir: {path}: {error.strerror}.") from None
    return path


def read_simulations(folder: Path) -> tuple[list[RecordedSimulation], list[str]]:
    """Return the simulations of a folder, the newest first, and the faults of files that can't be read."""
    found, faults = [], []
    # Names begin with the second; the order within one is that of the records.
    for path in sorted(folder.glob("*.json"), reverse=True)[:_MAX_FILES] if folder.is_dir() else ():
        try:
            with path.open("rb") as file:
                found.append(_decoded(file.read(_MAX_BYTES)))
        except OSError as error:
            faults.append(f"{path}: {error.strerror}")
        except (ValueError, TypeError, KeyError, RecursionError):
            faults.append(f"{path}: not a simulation as this release records it")
    return sorted(found, key=lambda each: each.record.at, reverse=True), faults


def find_proof(
    power: PolicyPower, simulations: Iterable[RecordedSimulation], keys: "Sequence[Ed25519PublicKey]", publisher: str
) -> tuple[RecordedSimulation, Acceptance, str] | str:
    """Return a simulation of exactly this policy that another person accepted, or what is missing.

    Args:
        power: the policy with its rules.
        simulations: those that are recorded.
        keys: of those who may accept it.
        publisher: the id of the key that signs the version; its own acceptance doesn't count.
    """
    matching = [each for each in simulations if any(one.digest == power.digest for one in each.record.policies)]
    for each in matching:
        for acceptance, signer in each.signers(keys):
            if signer != publisher:
                return each, acceptance, signer
    if not matching:
        return "no simulation of it in this state and with these rules is recorded"
    newest = matching[0]
    if any(signer == publisher for _, signer in newest.signers(keys)):
        return f"only the key that signs this version accepted simulation {newest.record.id}"
    return f"nobody whose key is among actions.people_key_files accepted simulation {newest.record.id}"


def _signed(record: SimulationRecord, acceptance: Acceptance) -> bytes:
    return _encoded({"simulation": asdict(record), "by": acceptance.by, "at": acceptance.at})


def _encoded(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _decoded(data: bytes) -> RecordedSimulation:
    row = json.loads(data)
    policies = tuple(_checked(SimulatedPolicy, each) for each in row["record"].pop("policies"))
    record = _checked(SimulationRecord, row["record"] | {"policies": policies})
    accepted = tuple(_checked(Acceptance, each) for each in row["accepted"])
    for each in accepted:
        bytes.fromhex(each.signature)
    return RecordedSimulation(record, accepted)


def _checked(kind: Any, row: dict[str, Any]) -> Any:
    made = kind(**row)
    if any(type(getattr(made, each.name)) is not each.type for each in fields(kind) if each.type in (int, str)):
        raise ValueError("a value of another type")
    return made
