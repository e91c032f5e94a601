"""New host ids never push out hosts that have been heard of for a while."""

from hypothesis import given
from hypothesis import strategies as st

from processor.hosts.tracked import ESTABLISHED_AFTER_MS, REPLACED_AFTER_MS, TrackedHosts

NOON = 1_795_530_690_000
HEARTBEAT = 15_000


def test_a_host_that_is_heard_of_for_a_minute_is_established() -> None:
    """By the broker's clock."""
    hosts = TrackedHosts()
    assert [hosts.see(0, "a", NOON + each * HEARTBEAT) for each in range(6)] == [False] * 4 + [True] * 2


def test_a_host_that_proved_who_it_is_is_established_at_once() -> None:
    """Its id can't be made up."""
    assert TrackedHosts().see(0, "a", NOON, is_verified=True)


def test_a_flood_of_ids_pushes_out_none_but_newcomers() -> None:
    """And new ids stay few; those that are sent for a minute become established until there is no more room."""
    hosts = TrackedHosts(most_established=10, most_new=8)
    for time in (NOON, NOON + ESTABLISHED_AFTER_MS):
        for number in range(8):
            hosts.see(0, f"old-{number}", time)

    for time in (NOON + ESTABLISHED_AFTER_MS, NOON + 3 * ESTABLISHED_AFTER_MS):
        for number in range(1000):
            hosts.see(0, f"made-up-{number}", time)
        for number in range(4):
            hosts.see(0, f"stubborn-{number}", time)
        gone = hosts.take_gone()
        assert len(gone) >= 992
        assert not any(name.startswith("old") for name in gone)

    assert len(hosts) <= 18
    assert all(hosts.see(0, f"old-{number}", NOON + 4 * ESTABLISHED_AFTER_MS) for number in range(8))


def test_a_host_that_was_silent_for_an_hour_gives_up_its_place() -> None:
    """Where another needs it, and no sooner."""
    hosts = TrackedHosts(most_established=2, most_new=5)
    for name, time in (("a", NOON), ("b", NOON + 1)):
        hosts.see(0, name, time, is_verified=True)

    assert not hosts.see(0, "c", NOON + REPLACED_AFTER_MS - 1, is_verified=True)
    assert hosts.see(0, "c", NOON + REPLACED_AFTER_MS, is_verified=True)
    assert hosts.take_gone() == ["a"]
    assert not hosts.see(0, "d", NOON + REPLACED_AFTER_MS, is_verified=True)


def test_hosts_that_were_recalled_are_established_as_far_as_there_is_room() -> None:
    """How long another process had heard of them isn't known; who came first stays."""
    hosts = TrackedHosts(most_established=2, most_new=1)
    for name in "abcd":
        hosts.recall(3, name, NOON)
    assert [hosts.see(3, name, NOON + 1) for name in "abd"] == [True, True, False]
    assert hosts.take_gone() == ["c"]


def test_hosts_of_a_partition_that_went_are_forgotten() -> None:
    """This holds for both kinds of hosts."""
    hosts = TrackedHosts()
    hosts.see(0, "a", NOON, is_verified=True)
    hosts.see(0, "b", NOON)
    hosts.see(1, "c", NOON)
    assert hosts.forget(frozenset({0})) == ["a", "b"]
    assert len(hosts) == 1


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 120_000)), max_size=100))
def test_an_established_host_that_goes_on_sending_stays(actions: list[tuple[str, int]]) -> None:
    """Whatever other ids are sent, and however many of them are established."""
    hosts, now = TrackedHosts(most_established=3, most_new=2), NOON
    for step in range(5):
        hosts.see(0, "honest", NOON + step * HEARTBEAT)
        now = NOON + step * HEARTBEAT
    for name, passed in actions:
        now += passed
        hosts.see(0, name, now)
        assert hosts.see(0, "honest", now)
    assert "honest" not in hosts.take_gone()
    assert len(hosts) <= 5
