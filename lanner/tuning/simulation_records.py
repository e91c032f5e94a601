"""Recorded simulations of action policies, and who accepted them: what a policy needs before it may act.

A record is a file that states which policies, in which state and with which rules, were simulated on which events, and
what they would have hit. A person who accepts it signs all of that. So the file may be copied, reviewed and committed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.files import write_atomically
from foundation.quantities import date_and_time_seconds
from foundation.text import count_of
from lanner.errors import BadInput
from processor.loading.difference import PolicyPower

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIMULATION_DOMAIN = b"lanner action simulation\0"
_MAX_BYTES = 1 << 20
_MAX_FILES = 1000
_NS_PER_MS = 1_000_000
_MODE = 0o644


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
