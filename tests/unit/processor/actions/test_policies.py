import json
from dataclasses import replace

import pytest

from processor.actions.planning import Planner
from processor.actions.policies import BLOWN, ActionBudget, ActionPolicy, Fuse, Never
from schemas.catalog.priorities import Priority
from tests.unit.alerts import TIME, alert

MINUTE = 60_000_000_000
KILL = ActionPolicy("end", "kill", "process", "would", 0, ("*",), (), Priority.DEBUG, Never())
FREEZE = ActionPolicy("stop", "freeze", "container", "would", 15 * MINUTE, ("*",), (), Priority.DEBUG, Never())


def spend(
    fuse: Fuse, minute: int, *, host: str = "h", workload: str = "", hosts: int = 100, policy: ActionPolicy = KILL
) -> str:
    """Spend one action at a time; return why it isn't allowed."""
    event = {"proc.pid": 7, "proc.pid.ts": 5, "container.id": "3f2"}
    (planned,) = Planner({"A rule": (policy,)}).plan(alert(host_id=host, event=event))
    return fuse.spend(replace(planned.intent, workload=workload), TIME + minute * MINUTE, hosts)


def test_more_in_an_hour_blow_the_fuse() -> None:
    """Nothing is allowed afterwards, however long it takes, until a person resets it."""
    fuse = Fuse(ActionBudget(per_hour=2))
    assert [spend(fuse, minute) for minute in (0, 59, 60, 61)] == ["", "", "", "the fuse has blown"]
    assert fuse.blown.startswith("2 in an hour, at ")
    assert spend(fuse, 1000) == "the fuse has blown"


def test_too_large_a_share_of_hosts_blows_the_fuse() -> None:
    """Hosts count while an action lasts; one is always allowed."""
    fuse = Fuse(ActionBudget(per_hour=100, hosts_percent=10))
    assert [spend(fuse, 0, host=host, hosts=29) for host in ("a", "a", "b")] == ["", "", ""]
    assert spend(fuse, 61, host="c", hosts=29) == ""
    assert [spend(fuse, 62, host=host, hosts=29) for host in ("d", "e")] == ["", "the fuse has blown"]
    assert fuse.blown.startswith("3 of 29 hosts at once")
    assert spend(Fuse(ActionBudget()), 0, hosts=1) == ""


def test_a_second_replica_is_refused_while_the_first_is_stopped() -> None:
    """The fuse stays; what is no replica of anything is not counted."""
    fuse = Fuse(ActionBudget())
    outcomes = [spend(fuse, minute, workload="shop/web", policy=FREEZE) for minute in (0, 14, 15)]
    assert outcomes == ["", "1 of its workload already", ""]
    assert spend(fuse, 16, policy=FREEZE) == spend(fuse, 16, policy=FREEZE) == fuse.blown == ""


def test_the_next_owner_continues_where_the_former_one_was() -> None:
    """State is read as JSON, and what doesn't fit is refused."""
    fuse = Fuse(ActionBudget(per_hour=2))
    assert [spend(fuse, 0, workload="shop/web", policy=FREEZE), spend(fuse, 1)] == ["", ""]
    for state, outcomes in (
        (fuse.dump(), ["1 of its workload already", ""]),
        ({**fuse.dump(), "blown": "x"}, [BLOWN] * 2),
    ):
        heir = Fuse(ActionBudget(per_hour=3))
        heir.load(json.loads(json.dumps(state)))
        assert [spend(heir, 2, workload="shop/web", policy=FREEZE), spend(heir, 3)] == outcomes
    assert spend(heir, 99) == BLOWN
    with pytest.raises(KeyError):
        heir.load({})
