"""`lanner actions accept`, and what other commands do with recorded simulations."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.text import count_of, printable
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import agreed
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.ruleset.active import ActiveRules
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.tuning.backtest import BacktestRun
from lanner.tuning.simulation import (
    RecordedSimulation,
    SimulatedPolicy,
    Simulation,
    SimulationRecord,
    find_proof,
    read_simulations,
    write_simulation,
)
from processor.loading import LoadResult, Problem, ProblemCode
from processor.loading.difference import action_powers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PEOPLE = "actions.people_key_files"
_NEEDED = (
    "simulate the new rule files with `lanner actions simulate PATH… --record`; another person then signs with "
    "`lanner actions accept --sign-key FILE`."
)


@front_command(
    "accept",
    example="lanner actions accept --sign-key ann.key\n"
    "lanner actions accept 20261130195502-1c6f4a7d --sign-key ann.key --yes",
    formats=(),
    without=NO_RULES,
)
@click.argument("simulation", default="", metavar="[SIMULATION]")
@click.option(
    "--sign-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="Sign with this Ed25519 private key (PEM), of a person; its public key is in actions.people_key_files.",
)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation; required without a terminal.")
def accept(options: Options, simulation: str, sign_key: Path, *, yes: bool) -> None:
    """Show a simulation that `lanner actions simulate --record` stored, by default the newest, and sign it.

    With that, `lanner rules publish` lets its policies act, in the state and with the rules that were simulated. It
    takes two persons: whoever signs the version can't accept it with the same key.
    """
    need("processor", "confluent_kafka", "cryptography")
    from bus.signatures import key_id
    from lanner.ruleset.published import current_user
    from lanner.wiring.published import private_key, read_public_keys

    settings = options.settings()
    key = private_key(sign_key)
    folder = Path(settings.actions.simulations_dir)
    found = [each for each in _read(folder) if simulation in ("", each.record.id)]
    if not found:
        what = f"no simulation {simulation}" if simulation else "no simulation"
        raise BadInput(f"{folder}: {what} is recorded: run `lanner actions simulate --record`.")
    chosen = found[0]
    record = chosen.record
    click.echo(f"simulation {record.id} by {printable(record.by)}: {record.range_text}")
    for policy in record.policies:
        click.echo(f"  {printable(policy.text)}")
    if record.not_seen:
        click.echo(
            f"  {count_of(record.not_seen, 'remark')} on what was not collected; `lanner actions simulate` prints them."
        )
    if not (yes or agreed("May these policies act on all that their rules alert on?", "add --yes")):
        note("nothing was accepted.")
        return
    if key_id(key.public_key()) not in {
        key_id(each) for each in read_public_keys(_PEOPLE, settings.actions.people_key_files)
    }:
        note("its public key is not in actions.people_key_files here, so it counts only where it is.", "warning")
    write_simulation(folder, chosen.accept(current_user(), time.time_ns(), key))
    click.echo(f"accepted by {current_user()}, with key {key_id(key.public_key())}")


def record_simulation(folder: Path, active: ActiveRules, run: BacktestRun, simulation: Simulation) -> str:
    """Store what a simulation found; return its id. Raises BadInput if it was ended early, or found no events."""
    from lanner.ruleset.published import current_host, current_user

    if run.is_stopped or not run.hosts:
        raise BadInput("stopped early: nothing was recorded." if run.is_stopped else "no events: nothing was recorded.")
    powers = action_powers(active)
    policies = tuple(
        SimulatedPolicy(
            action=name,
            does=f"{found.policy.type} {found.policy.target}",
            state=found.policy.state,
            digest=powers[name].digest,
            rules=len(powers[name].rules),
            alerts=found.alerts,
            targets=found.hits,
            hosts=len(found.hosts),
            refused=sum(found.refused.values()),
            fuse_blown=found.fuse.blown,
        )
        for name, found in simulation.policies.items()
        if powers[name].rules
    )
    record = SimulationRecord(
        since=run.range.since,
        until=run.range.until,
        events=run.events,
        hosts=len(run.hosts),
        by=f"{current_user()} on {current_host(None)}",
        at=time.time_ns(),
        not_seen=len(run.remarks),
        policies=policies,
    )
    write_simulation(folder, RecordedSimulation(record))
    return record.id


def check_powers(
    settings: Settings,
    before: CompiledDetection | None,
    draft: CompiledDetection,
    key: "Ed25519PrivateKey | None",
    show: Callable[[str], None],
) -> tuple[str, ...]:
    """Return who accepted what policies of a draft may do more than before, for the record.

    Args:
        settings: where simulations are, and the keys of people.
        before: the published version; None if there is none.
        draft: what is about to be published.
        key: signs the version; None if nothing does.
        show: receives these lines.

    Raises:
        BadInput: A policy may do more, and no other person accepted a simulation of it.
    """
    former = {} if before is None else action_powers(before.active_rules)
    wider = {
        name: (power, how)
        for name, power in action_powers(draft.active_rules).items()
        if (how := power.wider_than(former.get(name)))
    }
    if not wider:
        return ()
    if key is None:
        names = ", ".join(map(repr, wider))
        raise BadInput(
            f"policies may do more than before ({names}): sign the version with --sign-key, as its publisher."
        )
    simulations = _read(Path(settings.actions.simulations_dir))
    from bus.signatures import key_id
    from lanner.wiring.published import read_public_keys

    keys = read_public_keys(_PEOPLE, settings.actions.people_key_files)
    publisher = key_id(key.public_key())
    faults, lines = [], []
    for name, (power, how) in wider.items():
        proof = find_proof(power, simulations, keys, publisher)
        if isinstance(proof, str):
            faults.append(f"action {name!r} may do more than before ({'; '.join(how)}), and {proof}.")
        else:
            simulation, acceptance, signer = proof
            record = simulation.record
            lines.append(
                f"action {name}: {'; '.join(how)}; simulated as {record.id} on {record.range_text}; accepted by "
                f"{acceptance.by}, key {signer}"
            )
    if faults:
        raise BadInput(*map(printable, faults), _NEEDED)
    for line in lines:
        show(printable(line))
    return tuple(map(printable, lines))


def not_simulated(settings: Settings, result: LoadResult) -> Iterator[Problem]:
    """Yield a warning for each policy in the state do that nobody has simulated as it is."""
    acting = [each for each in action_powers(result).values() if each.policy.state == "do" and each.rules]
    known = {policy.digest for each in _read(Path(settings.actions.simulations_dir)) for policy in each.record.policies}
    for power in acting:
        policy = power.policy
        if power.digest not in known:
            message = "it is done without asking, and no simulation of it with these rules is recorded"
            hint = "run `lanner actions simulate --record`"
            code = ProblemCode.LOAD_WARNING_EXTENSION
            yield Problem(code, message, "action", policy.name, policy.location, hint)


def _read(folder: Path) -> Sequence[RecordedSimulation]:
    found, faults = read_simulations(folder)
    for fault in faults:
        note(f"actions.simulations_dir: {fault}.", "warning")
    return found
