"""What detection leaves out because the correlate stage knows it: the alerts stay the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.detection.stage import CompiledRuleset
from processor.detection.view import BatchView
from processor.hosts.arrival import dated
from schemas.batch import EventBatch
from tests.unit.processor.correlation.rules import NEW_PROGRAM, SECOND, SSH, START, Host, rule, ruleset_of
from tests.unit.processor.correlation.test_clock import Fleet

PROGRAMS = ("sh", "curl", "evil")
SHORT = NEW_PROGRAM.replace("lookback: 7d", "lookback: 100s").replace("learning: 1h", "learning: 20s")


def sent(ruleset: CompiledRuleset, batch: EventBatch, at: float) -> int:
    """Return how many messages a batch makes. at: when the broker received it, s."""
    return len(list(ruleset.pre_matcher.process(BatchView(dated(batch, START + round(at * SECOND), 0)[0]))))


def test_a_known_value_is_sent_once_a_minute() -> None:
    """However often it comes; each other value and group is sent at once."""
    ruleset, host = ruleset_of(NEW_PROGRAM, rule("new_program")), Host()

    assert [sent(ruleset, host.run(at), at) for at in (0, 1, 59, 60, 61)] == [1, 0, 0, 1, 0]
    assert sent(ruleset, host.run(62, "sh"), 62) == 1


def test_nobody_hides_a_value_of_others_by_having_it_first() -> None:
    """It is sent for four of those who have it: whose values have no room can't be the only one."""
    ruleset, hosts = ruleset_of(NEW_PROGRAM, rule("new_program")), [Host(f"web-{number}") for number in range(6)]

    assert [sent(ruleset, host.run(0), 0) for host in hosts] == [1, 1, 1, 1, 0, 0]
    assert [sent(ruleset, host.run(1), 1) for host in hosts] == [0] * 6


def test_an_event_that_matters_to_something_else_is_sent() -> None:
    """To a window, to the macro's negation, or where first_seen itself depends on a window."""
    host = Host()
    counting = """
- macro: many_runs
  condition: evt.type = execve
  correlation: {type: event_count, group-by: [container.id], timespan: 1m, condition: {gte: 3}}
"""
    nested = NEW_PROGRAM.replace("condition: evt.type = execve", "condition: many_runs")
    for texts in (
        (NEW_PROGRAM, counting, rule("new_program or many_runs")),
        (NEW_PROGRAM, rule("evt.type = execve and not new_program")),
        (counting, nested, rule("new_program")),
    ):
        ruleset = ruleset_of(*texts)
        assert [sent(ruleset, host.run(at), at) for at in (0, 1, 2)] == [1, 1, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 19, 30, 61, 99, 130]), st.sampled_from(PROGRAMS)), max_size=40))
def test_what_is_left_out_changes_no_alert(steps: list[tuple[int, str]]) -> None:
    """A fleet whose detection forgets what it sent reports the same."""
    texts = (SHORT, SSH, rule("new_program", "%proc.name at %evt.rawtime"))
    lasting, forgetful = Fleet(ruleset_of(*texts)), Fleet(ruleset_of(*texts))
    host, now = Host(), 0
    for pause, program in steps:
        now += pause
        batch = host.run(now, program)
        forgetful.ruleset = ruleset_of(*texts)

        assert lasting.send(batch, at=now) == forgetful.send(batch, at=now)
