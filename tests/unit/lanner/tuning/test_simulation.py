from dataclasses import replace

from lanner.tuning.simulation import Simulation
from processor.actions.planning import Planner
from processor.actions.policies import ActionBudget, ActionPolicy, Never
from schemas.alert import Alert
from schemas.batch import Container, EventBatch, Process
from schemas.catalog.priorities import Priority
from tests.unit.alerts import TIME, alert
from tests.unit.processor.batches import INIT, batch_of

SECOND = 1_000_000_000
SHELL = Process(pid=7, ppid=1, name="sh", parent=0, start_time=TIME, container=0)
OTHER = Process(pid=8, ppid=1, name="sh", parent=0, start_time=TIME, container=0)
FREEZE = ActionPolicy("stop", "freeze", "container", "would", 60 * SECOND, ("*",), (), Priority.DEBUG, Never())
KILL = ActionPolicy("end", "kill", "process", "would", 0, ("*",), (), Priority.DEBUG, Never())
EVENT = {"proc.pid": 7, "proc.pid.ts": TIME, "proc.name": "sh", "container.id": "3f2", "user.name": "ann"}


def simulation(*policies: ActionPolicy) -> Simulation:
    """Return one in which the alerts of one rule request all policies."""
    return Simulation(Planner({"A rule": policies}), policies)


def shown(time: int, **event: object) -> Alert:
    """Return an alert about the shell."""
    return alert(id=str(time), time=time, host_id="host-1", event=EVENT | event)


def batch_at(*times: int) -> EventBatch:
    """Return two events at each time, one of the shell and one of another process in its container."""
    events = [{"process": row, "time": time, "repeats": 2 * (row == 1)} for time in times for row in (1, 2)]
    containers = [Container(id="3f2", full_id="3f2", type="docker")]
    return batch_of(*events, processes=[INIT, SHELL, OTHER], containers=containers, host_id="host-1")


def test_a_target_counts_once_while_the_action_lasts() -> None:
    """Further alerts in that time would not have come; afterwards it is hit again."""
    made = simulation(FREEZE)
    for second in (0, 10, 59, 61):
        made.take(shown(TIME + second * SECOND))
    found = made.policies["stop"]
    assert (found.alerts, found.hits, found.prevented_alerts) == (4, 2, 2)
    assert (found.hosts, found.workloads, found.users) == ({"web-3": 2}, {"unknown image": 2}, {"ann": 2})


def test_later_events_of_a_target_count_as_prevented() -> None:
    """Those of a killed process always, those of a frozen container until it thaws; repeats count as well."""
    made = simulation(FREEZE, KILL)
    made.see(batch_at(TIME - SECOND))
    made.take(shown(TIME))
    made.see(batch_at(TIME, TIME + SECOND, TIME + 2 * SECOND))
    made.see(batch_at(TIME + 100 * SECOND))
    assert made.policies["end"].prevented == 3 * 3
    assert made.policies["stop"].prevented == 2 * (3 + 1)


def test_a_process_with_the_same_id_is_another_one() -> None:
    """As is one on another host."""
    made = simulation(replace(KILL, budget=ActionBudget(hosts_percent=100)))
    made.take(shown(TIME, **{"proc.pid.ts": TIME - 1}))
    made.take(replace(shown(TIME + 1), host_id="host-2"))
    made.see(batch_at(TIME + 10))
    assert (made.policies["end"].hits, made.policies["end"].prevented) == (2, 0)


def test_nothing_is_hit_once_the_fuse_has_blown() -> None:
    """What came before stays, and all that follows is refused."""
    made = simulation(replace(KILL, budget=ActionBudget(per_hour=2)))
    for second in range(5):
        made.take(shown(TIME + second, **{"proc.pid": 10 + second, "container.id": "host"}))
    found = made.policies["end"]
    assert (found.hits, found.refused) == (2, {"the fuse has blown": 3})


def test_refusals_are_counted_by_reason() -> None:
    """And hit nothing."""
    made = simulation(FREEZE)
    made.take(shown(TIME, **{"container.id": "host"}))
    found = made.policies["stop"]
    assert (found.hits, found.refused) == (0, {"the process is in no container": 1})
