from dataclasses import dataclass

from processor.hosts.sequences import DuplicateHosts, Gap, HostSequences


@dataclass(frozen=True)
class Numbers:
    sequence: int
    host_id: str = "host"
    boot_id: str = "boot"
    collector_start: int = 100
    previous_start: int = 0
    previous_sequence: int = -1


def test_numbers_in_a_row_report_nothing() -> None:
    """Neither the first that is ever seen, wherever it stands, nor what follows it."""
    seen = HostSequences()
    assert [seen.see(0, Numbers(number)) for number in (7, 8, 9)] == [None] * 3


def test_a_number_that_is_missing_is_a_gap() -> None:
    """It reports how many are missing and between which numbers."""
    seen = HostSequences()
    seen.see(0, Numbers(7))
    assert seen.see(0, Numbers(11)) == Gap(missing=3, after=7, before=11)
    assert seen.see(0, Numbers(12)) is None


def test_a_batch_that_comes_again_reports_nothing() -> None:
    """After a takeover the newest batches are read twice."""
    seen = HostSequences()
    for number in (7, 8, 9):
        seen.see(0, Numbers(number))
    assert [seen.see(0, Numbers(number)) for number in (7, 8, 9, 10)] == [None] * 4


def test_what_came_before_is_known_as_a_repeat() -> None:
    """In the partition in which it came, and of a start that is remembered; what is new is none."""
    seen = HostSequences()
    assert not seen.is_repeat(0, Numbers(7))
    for number in (7, 8):
        seen.see(0, Numbers(number))
    seen.see(0, Numbers(1, collector_start=200))
    found = [seen.is_repeat(0, each) for each in (Numbers(7), Numbers(8), Numbers(9), Numbers(1, collector_start=200))]
    assert found == [True, True, False, True]
    assert not seen.is_repeat(1, Numbers(7))
    assert not seen.is_repeat(0, Numbers(7, host_id="other"))


def test_only_what_is_in_the_topic_again_is_past() -> None:
    """Later numbers and later starts are not, and neither is what is read again at its own offset."""
    seen = HostSequences()
    seen.see(0, Numbers(7), 1)
    seen.see(0, Numbers(3, collector_start=200), 2)
    past = (Numbers(3, collector_start=200), Numbers(7), Numbers(9), Numbers(1, collector_start=50))
    fresh = (Numbers(4, collector_start=200), Numbers(1, collector_start=300), Numbers(1, host_id="other"))
    assert [seen.is_past(0, each, 3) for each in (*past, *fresh)] == [True] * 4 + [False] * 3
    assert not any(seen.is_past(0, each, 2) for each in past)
    assert not any(seen.is_past(1, each, 3) for each in past)


def test_a_new_start_that_names_the_last_of_the_one_before_proves_its_end() -> None:
    """What the old start sent and nobody got is missing."""
    seen = HostSequences()
    seen.see(0, Numbers(7))
    assert seen.see(0, Numbers(1, collector_start=200, previous_start=100, previous_sequence=7)) is None
    seen.see(0, Numbers(2, collector_start=200))
    restarted = Numbers(1, collector_start=300, previous_start=200, previous_sequence=4)
    assert seen.see(0, restarted) == Gap(missing=2, after=2, before=5)


def test_a_new_start_whose_beginning_is_missing_is_a_gap() -> None:
    """A collector counts from 1."""
    seen = HostSequences()
    seen.see(0, Numbers(7))
    assert seen.see(0, Numbers(3, collector_start=200)) == Gap(missing=2, after=0, before=3)


def test_two_that_live_under_one_id_are_reported() -> None:
    """An old start that goes on after a new one has begun is another host."""
    seen = HostSequences()
    seen.see(0, Numbers(7))
    seen.see(0, Numbers(1, boot_id="other", collector_start=200))
    assert seen.see(0, Numbers(8)) == DuplicateHosts(("other", "boot"))


def test_hosts_of_a_partition_that_went_are_forgotten() -> None:
    """Another process saw what arrived in the meantime: here it would look like a gap."""
    seen = HostSequences()
    seen.see(0, Numbers(7, host_id="a"))
    seen.see(1, Numbers(7, host_id="b"))
    seen.forget(frozenset({0}))
    assert seen.see(0, Numbers(20, host_id="a")) is None
    assert seen.see(1, Numbers(9, host_id="b")) == Gap(missing=1, after=7, before=9)
