"""One attack for all tests of the folder: it costs half a minute, and each test looks at one thing about it."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies

from tests.adversary.fleet.attacks import PARTITIONS, attacks, bombs
from tests.adversary.fleet.fleets import Fleet, Shape, run_round, start_fleets, wait_for
from tests.adversary.fleet.honest import Honest
from tests.adversary.fleet.hostile import Hostile
from tests.adversary.fleet.rules import rules
from tests.adversary.length import SEED, chosen
from tests.cluster.broker import Broker
from tests.cluster.conftest import _java, broker, with_topics
from tests.cluster.processes import Processes

__all__ = ["_java", "broker"]

MESSAGES = 100
"""Hostile messages per seed; a long attack continues with the next seed."""
SECONDS = chosen(0, 300)
"""How long a long attack lasts at least; the short one is of one seed."""
A_ROUND = 8
"""Messages of the hostile host for each round of the honest ones, so that the attack has no end that nobody reaches."""
PATIENCE_SECONDS = chosen(60, 300)


@dataclass(frozen=True)
class Attacked:
    """What came of an attack."""

    peace: Fleet
    """Without a hostile host."""
    verifying: Fleet
    """Its processors trust a host's first key; the hostile host forges all it likes."""
    believing: Fleet
    """Its processors verify nothing and send every alert; the hostile host speaks for itself and hosts it makes up."""
    owed: int
    """Alerts about honest hosts."""
    seeds: range

    @property
    def attacked(self) -> tuple[Fleet, Fleet]:
        """Those beside a hostile host."""
        return self.verifying, self.believing


def send_attacks(hostile: list[Hostile], number: int, first_mark: int, may_send: Callable[[], object]) -> None:
    """Send what hypothesis draws by a seed, the same to every fleet.

    Args:
        hostile: the hostile host, in each fleet.
        number: the seed.
        first_mark: marks the first message; each has a mark of its own.
        may_send: waits until the next message may be sent.
    """
    mark = first_mark
    for attack in bombs():
        may_send()
        for each in hostile:
            each.send(attack)

    @seed(number)
    @settings(
        max_examples=MESSAGES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.data())
    def send(data: strategies.DataObject) -> None:
        nonlocal mark
        attack = data.draw(attacks(mark))
        may_send()
        mark += 1
        for each in hostile:
            each.send(attack)

    send()


@pytest.fixture(scope="package")
def attacked(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Carry the attack out."""
    print(f"The hostile host begins with LANNER_ADVERSARY_SEED={SEED}.")  # noqa: T201  shown where a test fails
    folder = tmp_path_factory.mktemp("adversary")
    secret = uuid.uuid4().hex
    file = folder / "rules.yaml"
    file.write_text(rules(secret), encoding="utf-8")
    processes = Processes(folder)
    try:
        yield _attack(broker, processes, file, secret)
    finally:
        processes.end()


def _attack(broker: Broker, processes: Processes, file: Path, secret: str) -> Attacked:
    shapes = (
        Shape("trust_on_first_use"),
        Shape("trust_on_first_use", processors=2, notifies=True),
        Shape("off", notifies=True, sums_repeats=False),
    )
    fleets = start_fleets([with_topics(broker, PARTITIONS) for _ in shapes], shapes, processes, file)
    peace, verifying, believing = fleets
    honest = Honest(secret)
    # Pin their keys before the hostile host starts: with this setting, the first key of a host is the one trusted.
    run_round(honest, fleets, PATIENCE_SECONDS)
    for fleet in fleets[1:]:
        fleet.hostile = Hostile(fleet.connection, file.parent, forges=fleet is verifying)
    hostile = [fleet.hostile for fleet in fleets if fleet.hostile is not None]
    done, turn = threading.Event(), threading.Semaphore(0)
    seeds = [SEED]
    failures: list[BaseException] = []

    def go_on() -> None:
        until = time.monotonic() + SECONDS
        try:
            send_attacks(hostile, SEED, 0, turn.acquire)
            while time.monotonic() < until:
                seeds.append(seeds[-1] + 1)
                send_attacks(hostile, seeds[-1], MESSAGES * (len(seeds) - 1), turn.acquire)
        except BaseException as error:  # noqa: BLE001  it is raised again on the test's thread
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=go_on, name="hostile host", daemon=True)
    thread.start()
    while not done.is_set() or honest.rounds < 6 or honest.rounds % 3:
        turn.release(A_ROUND)
        run_round(honest, fleets, PATIENCE_SECONDS)
    thread.join()
    if failures:
        raise failures[0]
    for each in hostile:
        each.flush()
    settle(fleets, honest.owed())
    for fleet in fleets:
        fleet.collectors.stop()
        fleet.stop()
    return Attacked(peace, verifying, believing, honest.owed(), range(SEED, seeds[-1] + 1))


def settle(fleets: Sequence[Fleet], owed: int) -> None:
    """Wait until everything expected has arrived, and slightly longer for anything that must not arrive."""
    for fleet in fleets:

        def has_all(fleet: Fleet = fleet) -> bool:
            fleet.alerts.read(0.3)
            fleet.dead_letters.read(0.2)
            is_delivered = fleet.notifier is None or len(fleet.delivered_ids()) >= owed
            return len(fleet.honest_alerts()) >= owed and is_delivered and not fleet.unaccounted()

        wait_for(has_all, PATIENCE_SECONDS)
    for fleet in fleets:
        fleet.alerts.read(0.5)
