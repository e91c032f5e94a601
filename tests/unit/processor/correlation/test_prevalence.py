"""Prevalence: how many hosts had a value, through both stages, with its bounds."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.caches import NEWCOMERS
from processor.correlation.first_seen import SPARE_HOSTS, Sightings
from processor.correlation.first_seen_group import HostCount, Sighting
from processor.correlation.windows import UpdateOutcome
from processor.evaluator import Evaluator
from processor.matching.pre_match import PARTS, Span
from processor.output.internal_alerts import VALUES_UNSTORED
from tests.unit.processor.correlation.rules import SECOND, Host, restarted, rule, ruleset_of
from tests.unit.processor.correlation.test_clock import Fleet
from tests.unit.processor.correlation.test_first_seen import loaded
from tests.unit.processor.matching.test_gathered import sent

HOUR, DAY = 3600, 86_400
RARE = """
- macro: rare_program
  condition: evt.type in (execve, openat)
  correlation: {type: prevalence, group-by: [proc.name], lookback: 30d, learning: 1d, condition: {lt: 3}}
"""
OUTPUT = "%proc.name on %correlation.count since %correlation.first: %correlation.values"
WRITES = ruleset_of(RARE, rule("evt.type = openat and rare_program", OUTPUT))
LOOKBACK, THRESHOLD = 10 * PARTS, 3
SPAN = Span.of(LOOKBACK * SECOND, 0, THRESHOLD)


def empty(maximum: int = 10_000, most: int = 1_000) -> Sightings:
    """Return a store without values, whose macro doesn't learn."""
    return Sightings({"macro": SPAN}, maximum=maximum, group_maximum=most)


def sighting(digest: str, host: str, arrival: float, identity: int = 0, *, is_established: bool = True) -> Sighting:
    """Return an event of a host. arrival: s."""
    return Sighting("macro", (digest,), "", identity, 7, round(arrival * SECOND), host, is_established)


def hosts(held: Sightings, digest: str, host: str, arrival: float, *, is_established: bool = True) -> int:
    """Return how many hosts had a digest, after an event."""
    count = held.count_hosts(sighting(digest, host, arrival, round(arrival * 1000), is_established=is_established))
    assert isinstance(count, HostCount), count
    return count.hosts


def test_a_connection_is_reported_although_its_program_was_just_seen() -> None:
    """Executing a program counts its host; what the program does in the same second is evaluated with that count."""
    fleet, first, second, third = Fleet(WRITES), Host("a"), Host("b"), Host("c")
    fleet.send(first.run(0, "sh"), at=0)

    fleet.send(first.run(DAY), at=DAY)
    (alert,) = fleet.send(first.write(DAY + 1, "/x", "evil"), at=DAY + 1)
    assert alert.output.startswith("evil on 1 since 2026-11-25T")
    assert alert.output.endswith(": a")
    fleet.send(second.run(DAY + 2), at=DAY + 2)
    (alert,) = fleet.send(first.write(3 * DAY, "/x", "evil"), at=3 * DAY)
    assert alert.output.endswith(": a, b")
    fleet.send(third.run(3 * DAY + 1), at=3 * DAY + 1)
    assert fleet.send(second.write(5 * DAY, "/x", "evil"), at=5 * DAY) == []


def test_it_learns_once_for_all_groups() -> None:
    """In the first day nothing is rare; from then on, a new program is rare at once."""
    fleet, host = Fleet(WRITES), Host()

    assert fleet.send(host.write(0, "/x", "sh"), at=0) == []
    assert fleet.send(host.write(DAY - 1, "/x", "curl"), at=DAY - 1) == []
    assert len(fleet.send(host.write(DAY, "/x", "evil"), at=DAY)) == 1


def test_whoever_takes_over_knows_the_hosts() -> None:
    """And an event that is delivered again neither counts nor fires again."""
    fleet, one, other = Fleet(WRITES), Host("a"), Host("b")
    fleet.send(one.run(0), at=0)
    event = other.write(DAY, "/x", "evil")
    assert len(fleet.send(event, at=DAY)) == 1

    heir = fleet.taken_over()
    assert heir.send(event, at=DAY + 1) == []
    assert heir.send(Host("c").write(DAY + 2, "/x", "evil"), at=DAY + 2) == []


def test_one_host_knows_after_a_restart_since_when_it_has_a_program() -> None:
    """`lanner run` stores hosts as it stores the values of first_seen."""
    evaluator, host = Evaluator(WRITES), Host("a")
    evaluator.replay(host.run(0, "sh"))
    evaluator.replay(host.run(DAY))
    evaluator.correlator = restarted(evaluator.correlator, WRITES)

    [alert] = evaluator.replay(host.write(3 * DAY, "/x", "evil"))
    assert alert.output == "evil on 1 since 2026-11-25T14:20:00.000000000Z: a"
    assert evaluator.replay(host.write(3 * DAY + 1, "/x", "evil")) == []


def test_an_event_is_sent_once_a_minute_for_each_set_of_rules() -> None:
    """A known program's calls cost no more messages than those of first_seen."""
    ruleset, host = ruleset_of(RARE, rule("evt.type = openat and rare_program")), Host()

    assert [sent(ruleset, host.run(at), at) for at in (0, 1, 61)] == [1, 0, 1]
    assert [sent(ruleset, host.write(at, "/x", "evil"), at) for at in (62, 63)] == [1, 0]


def test_made_up_hosts_make_nothing_common() -> None:
    """Hosts that are new to the fleet count as one, and beside established hosts not at all."""
    held = empty()
    for number in range(9):
        assert hosts(held, "d", f"new-{number}", number, is_established=False) == 1
    assert hosts(held, "d", "a", 10) == 1
    assert hosts(held, "d", "b", 11) == 2
    assert {host for _, host, _ in held.records()} == {NEWCOMERS, "a", "b"}


def test_a_host_with_a_million_digests_costs_nobody_else_his_count() -> None:
    """Its own further digests are refused, and what others have is still counted, for it as well."""
    held = empty(most=50)
    for host in "abc":
        hosts(held, "bash", host, 1)
    hosts(held, "tool", "a", 1)
    answers = [held.count_hosts(sighting(f"{number}", "loud", 2, number)) for number in range(1_000)]

    assert [isinstance(each, HostCount) for each in answers] == [True] * 50 + [False] * 950
    assert set(answers[50:]) == {UpdateOutcome.FULL}
    assert (len(held), held.groups) == (54, 53)
    assert hosts(held, "bash", "loud", 3) == 3
    assert hosts(held, "tool", "b", 3) == 2


def test_if_all_is_full_the_host_that_has_most_loses_its_own_hosts() -> None:
    """A digest that others have stays common, whoever had it first."""
    held = empty(maximum=100)
    for host in ("loud", *"abcd"):
        hosts(held, "bash", host, 1)
    for number in range(1_000):
        hosts(held, f"digest {number}", "loud", 2 + number / 1000)

    assert len(held) <= 100
    assert set(held.take_evicted()) == {"loud"}
    assert hosts(held, "bash", "e", 4) >= 4
    assert held.count_hosts(sighting("new", "a", 4)) == HostCount(1, 4 * SECOND, ("a",))


def test_a_group_stores_few_more_hosts_than_decide() -> None:
    """However many have a digest; places of hosts that no longer have it are used again."""
    held = empty()
    for number in range(100):
        hosts(held, "bash", f"h{number}", 1)
    assert len(held) == THRESHOLD + SPARE_HOSTS
    later = 2 + LOOKBACK + LOOKBACK // PARTS
    assert [hosts(held, "bash", f"h{number}", later) for number in (90, 91, 92, 93)] == [1, 2, 3, 4]
    assert len(held) == THRESHOLD + SPARE_HOSTS


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from("abcde"), st.sampled_from([0, 1, 9, 10, 300, 640, 700]))
    ),
    st.booleans(),
)
def test_the_number_equals_that_of_an_oracle(steps: list[tuple[str, str, int]], restarts: bool) -> None:
    """Up to the threshold, over restarts and forgotten hosts."""
    held, seen, now = empty(), dict[tuple[str, str], int](), 10_000
    for number, (digest, host, wait) in enumerate(steps):
        now += wait
        held.sweep(now * SECOND)
        answer = held.count_hosts(sighting(digest, host, now, number))
        seen[digest, host] = now
        current = [key for key, at in seen.items() if key[0] == digest and now // 10 - at // 10 <= PARTS]
        assert isinstance(answer, HostCount)
        assert min(answer.hosts, THRESHOLD) == min(len(current), THRESHOLD)
        if restarts:
            held = loaded(held, empty())


def test_a_host_that_has_too_many_is_named() -> None:
    """By an internal alert, as for first_seen."""
    fleet, host = Fleet(WRITES), Host("loud")
    fleet.stage.change_rules(replace(WRITES.plan, max_group_values=1), is_settled=True)
    fleet.send(host.run(0, "sh"), at=0)
    (alert,) = fleet.send(host.run(1), at=1)
    assert (alert.rule, alert.hostname) == (VALUES_UNSTORED, "loud")
