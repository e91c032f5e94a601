from lanner.known_state.tables import Learner, empty_state, learning_macros, macro_states
from lanner.recorder.store import StoredBatch
from processor.hosts.arrival import dated
from processor.matching.pre_match import PreMatch, SeenGroup
from processor.matching.wire import message_of
from schemas.batch import EventBatch
from tests.unit.processor.correlation.rules import MINUTE, NEW_PROGRAM, SECOND, SSH, START, Host, rule, ruleset_of
from tests.unit.processor.correlation.test_clock import Fleet

DAY = 24 * 60 * MINUTE


def test_groups_that_learn_or_are_full_are_counted() -> None:
    """A group is full for a lookback after the first value of somebody for which it had no room."""
    plan = ruleset_of(NEW_PROGRAM, rule("new_program")).plan
    state = empty_state()
    now = START + 30 * DAY
    groups = {
        "learns": SeenGroup(now - MINUTE),
        "knows": SeenGroup(START),
        "is full": SeenGroup(START, ((7, (now - DAY) // SECOND), (8, START // SECOND))),
        "was full": SeenGroup(START, ((7, (now - 20 * DAY) // SECOND),)),
    }
    for name, record in groups.items():
        state.sightings.load(plan.macros[0].fingerprint, (name,), "h", record)

    (found,) = macro_states(state, plan, now)

    assert (found.groups, found.learning, found.full) == (4, 1, 1)


HOUR = 3600
RULES = (NEW_PROGRAM, SSH, rule("new_program", "new %proc.name"), rule("many_ssh_connections", name="Many"))
NEW = ruleset_of(*RULES)


RARE = """
- macro: rare_program
  condition: evt.type = execve
  correlation: {type: prevalence, group-by: [proc.name], lookback: 7d, learning: 1h, condition: {lt: 3}}
"""


def new_fleet() -> Fleet:
    """Return a fleet whose hosts have sent nothing: what they sent recently is not sent again."""
    return Fleet(ruleset_of(*RULES))


def retained(batch: EventBatch, at: float, watched: tuple[str, ...] = ("execve", "accept", "accept4")) -> StoredBatch:
    """Return a batch as the topic of events retains it. at: when the broker received it, s."""
    batch.watched = watched
    appended = START + round(at * SECOND)
    return StoredBatch(dated(batch, appended, 0)[0], appended // 1_000_000)


def commands(*batches: StoredBatch) -> list[PreMatch]:
    """Return what is sent to the correlate stage after learning."""
    learner = Learner(NEW.plan, {macro.fingerprint for macro in learning_macros(NEW.plan)})
    for batch in batches:
        learner.take(batch)
    return list(learner.commands())


def test_a_fleet_that_learned_from_the_past_is_ready_at_once() -> None:
    """Known values aren't new, a new one is, and a redelivered command changes nothing."""
    host, fleet = Host(), new_fleet()
    found = commands(*(retained(host.run(at, process), at) for at, process in ((0, "sh"), (2 * HOUR, "curl"))))

    assert fleet.send(host.run(3 * HOUR, "evil"), at=3 * HOUR) == []
    for _ in range(2):
        assert fleet._take(map(message_of, found), START + 3 * HOUR * SECOND) == []

    fleet = fleet.taken_over()
    for process in ("sh", "curl", "evil"):
        assert fleet.send(host.run(3 * HOUR + 1, process), at=3 * HOUR + 1) == []
    other = new_fleet()
    other._take(map(message_of, found), START + 3 * HOUR * SECOND)
    assert [alert.output for alert in other.send(host.run(3 * HOUR + 99), at=3 * HOUR + 99)] == ["new evil"]


def test_learning_goes_on_if_not_all_events_were_collected() -> None:
    """What is known already helps all the same."""
    host, fleet = Host(), new_fleet()
    found = commands(retained(host.run(0, "sh"), 0, watched=("accept4",)))

    assert [each.command.action for each in found if each.command] == ["learn"]
    fleet._take(map(message_of, found), START + 3 * HOUR * SECOND)
    assert fleet.send(host.run(3 * HOUR, "curl"), at=3 * HOUR) == []


def test_learning_ends_only_after_all_values_are_there() -> None:
    """Groups begin in the past with the last commands: an event in between finds a group that still learns."""
    host, fleet = Host(), new_fleet()
    found = commands(*(retained(host.run(at, process), at) for at, process in ((0, "sh"), (HOUR, "curl"))))

    assert [each.command.action for each in found if each.command] == ["learn", "learn", "begin"]
    fleet._take(map(message_of, found[:1]), START + 3 * HOUR * SECOND)
    assert fleet.send(host.run(3 * HOUR, "curl"), at=3 * HOUR) == []
    fleet._take(map(message_of, found[1:]), START + 3 * HOUR * SECOND)
    assert fleet.send(host.run(3 * HOUR + 1, "curl"), at=3 * HOUR + 100) == []


def test_hosts_are_counted_in_the_past() -> None:
    """A fleet that learned knows how many hosts had a program and since when, and learns no longer."""
    ruleset = ruleset_of(RARE, rule("rare_program", "%proc.name on %correlation.count since %correlation.first"))
    learner, fleet = Learner(ruleset.plan, {macro.fingerprint for macro in ruleset.plan.macros}), Fleet(ruleset)
    for host, at in (("web-1", 0), ("web-2", HOUR)):
        learner.take(retained(Host(host).run(at), at))
    fleet._take(map(message_of, learner.commands()), START + 3 * HOUR * SECOND)

    (state,) = macro_states(fleet.stage._correlators[0].state, ruleset.plan, START + 3 * HOUR * SECOND)
    assert (state.groups, state.values, state.learning) == (1, 2, 0)
    found = fleet.send(Host("web-1").run(3 * HOUR + 1), at=3 * HOUR + 1)
    assert [alert.output for alert in found] == ["evil on 2 since 2026-11-24T14:20:00.000000000Z"]
