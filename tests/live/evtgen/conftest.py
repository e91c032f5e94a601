"""Plays all chosen cases once, under one collector, and keeps what came of it."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import EnvironmentUnsupported
from schemas.alert import Alert
from tests.conformance.cases import Case
from tests.live.compiled import Programs
from tests.live.containers import Docker
from tests.live.evtgen.cases import reason_not_here, rules_files
from tests.live.evtgen.plans import Plan, Where, plan
from tests.live.evtgen.stages import Played, host_users, play_in_container, play_on_host
from tests.live.evtgen.system_calls import Unplayable
from tests.live.needs import lacking
from tests.live.watching import RULES, Watch
from tests.reference import present

_FACTS_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Performance:
    """What was done and what was found."""

    played: dict[str, Played]
    unplayable: dict[str, str]
    alerts: tuple[Alert, ...]
    lost: dict[str, int]
    faults: dict[str, int]

    def alerts_of(self, case_id: str) -> list[Alert]:
        """Return the alerts about a case's acting process."""
        played = self.played[case_id]
        return [alert for alert in self.alerts if played.pids and _is_by(alert, played.pids[-1], played.container)]


@pytest.fixture(scope="session")
def performance(request: pytest.FixtureRequest, docker: Docker, programs: Programs, bytecode: Path) -> Performance:
    """Play the cases of all tests that this session is to run, under upstream's rules."""
    for path in rules_files():
        present(path)
    return _perform(request, docker, programs, bytecode, rules_files())


@pytest.fixture(scope="session")
def own_performance(request: pytest.FixtureRequest, docker: Docker, programs: Programs, bytecode: Path) -> Performance:
    """Play the same cases under the built-in rules."""
    return _perform(request, docker, programs, bytecode, [RULES])


def _perform(
    request: pytest.FixtureRequest, docker: Docker, programs: Programs, cache: Path, rules: Sequence[Path]
) -> Performance:
    plans, unplayable = _plans(_chosen_cases(request.session.items))
    actor = Path(programs("evtgen_actor", static=True))
    watch = Watch(docker.socket, cache, every_rule=True, rules=rules)
    try:
        watch.__enter__()
    except EnvironmentUnsupported as missing:
        lacking(missing.reason)
    # The containers are there until all is evaluated: on a busy machine, they could be gone before they are looked up.
    with ExitStack() as left:
        try:
            played = _play(plans, actor, docker, watch, left)
            watch.settle()
        finally:
            watch.__exit__(None, None, None)
    return Performance(played, unplayable, watch.alerts, watch.lost, watch.rule_faults)


def _chosen_cases(items: Sequence[pytest.Item]) -> list[Case]:
    calls = [item.callspec for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    cases: list[Any] = [call.params["evtgen_case"] for call in calls if "evtgen_case" in call.params]
    # Tests of different rules choose the same cases; a file can be created only once.
    different = {case["id"]: case for case in cases if "id" in case}.values()
    return [case for case in different if not (reason_not_here(case) or "").startswith("not on ")]


def _plans(cases: list[Case]) -> tuple[list[Plan], dict[str, str]]:
    plans, unplayable, users = [], {}, host_users()
    for case in cases:
        try:
            plans.append(plan(case, users))
        except Unplayable as unknown:
            unplayable[case["id"]] = str(unknown)
    return plans, unplayable


def _play(plans: list[Plan], actor: Path, docker: Docker, watch: Watch, left: ExitStack) -> dict[str, Played]:
    by_location = {where: chosen for where in Where if (chosen := [each for each in plans if each.where is where])}
    all_described = watch.described + len(by_location.keys() - {Where.HOST})

    def await_facts() -> None:
        # The rules about each type of event are compiled at its first one, before any look-up's answer is taken.
        deadline = time.monotonic() + _FACTS_SECONDS
        while watch.described < all_described:
            assert time.monotonic() < deadline, "Docker has not described the containers"
            time.sleep(0.02)

    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(play_on_host, chosen, actor)
            if where is Where.HOST
            else pool.submit(play_in_container, chosen, actor, docker, where, await_facts, left)
            for where, chosen in by_location.items()
        ]
    return {case_id: played for run in runs for case_id, played in run.result().items()}


def _is_by(alert: Alert, pid: int, container: str) -> bool:
    return alert.event.get("proc.vpid") == pid and (alert.event.get("container.full_id") or "") == container
