from lanner.recorder.tree.family import Processes, family_root
from tests.unit.lanner.recorder.tree.incident import activity, actor

SECOND = 1_000_000_000
INIT = actor(1, 0)
SHELL = actor(10, 5 * SECOND)


def test_a_process_is_known_again_after_it_executed_another_program() -> None:
    """By pid and start, which may differ by what collectors don't know exactly; its newest name is shown."""
    before = activity(1, actor(11, 6 * SECOND), SHELL, INIT)
    after = activity(2, actor(11, 6 * SECOND + 9_000_000, name="cat"), SHELL, INIT)
    processes = Processes([before, after])
    node = processes.node_of(after)
    assert node.activities == [before, after]
    assert node.actor.name == "cat"
    assert [each.actor.pid for each in node.ancestors()] == [10, 1]


def test_a_pid_that_is_used_again_is_another_process() -> None:
    """And so is the same pid on another host."""
    events = [
        activity(1, actor(11, 6 * SECOND)),
        activity(2, actor(11, 60 * SECOND)),
        activity(3, actor(11, 60 * SECOND, host="other")),
    ]
    assert len(Processes(events).nodes) == 3


def test_a_process_whose_parent_ended_stays_with_it() -> None:
    """Its new parent did not start it."""
    processes = Processes([activity(1, actor(11), SHELL, INIT), activity(2, actor(11), INIT)])
    assert [node.actor.pid for node in processes.roots()] == [1]
    shell = next(node for node in processes.nodes if node.actor.pid == 10)
    assert [node.actor.pid for node in shell.children] == [11]


def test_the_family_begins_with_the_parent_unless_that_is_init() -> None:
    """Children of init are unrelated services."""
    processes = Processes([deed := activity(1, actor(11), SHELL, INIT), service := activity(2, SHELL, INIT)])
    assert family_root(processes.node_of(deed)).actor.pid == 10
    assert family_root(processes.node_of(service)).actor.pid == 10
