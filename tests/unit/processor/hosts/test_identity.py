from processor.hosts.identity import MOST_HOSTS, NOT_VERIFIED, RejectedBatches, RejectedMessage
from processor.matching.pre_match import QUIET

POSITION = ("t.events", 3, 17)


def rejected(host: str = "web-1", outcome: str = "bad_signature", *, known: bool = True) -> RejectedMessage:
    """Return why a batch was rejected."""
    return RejectedMessage(host, "its signature by key 00ff is wrong", outcome, is_known=known)


def test_a_batch_under_a_known_hosts_id_is_notified_of_that_host() -> None:
    """With its name, the reason and the place, so that the same message always makes the same alert."""
    cause, notice = RejectedBatches().notice(rejected(), POSITION, "web.example", 5)
    assert (cause.host_id, cause.hostname, cause.time, cause.batch) == ("web-1", "web.example", 5, POSITION)
    assert (notice.kind, notice.priority, notice.numbers) == (NOT_VERIFIED, "Critical", {"batches": 1})
    assert notice.text == ("a batch with the id of host web-1 was rejected: its signature by key 00ff is wrong")


def test_what_enrolling_can_mend_suggests_it() -> None:
    """Only where the key is the question."""
    for outcome, says_so in (("other_key", True), ("not_enrolled", True), ("bad_signature", False)):
        _, notice = RejectedBatches().notice(rejected(outcome=outcome), POSITION, "", 5)
        assert ("lanner hosts enroll" in notice.text) == says_so


def test_ids_that_are_made_up_are_reported_together() -> None:
    """However many there are: none of them has an alert of its own, and the newest is named."""
    batches = RejectedBatches()
    found = [batches.notice(rejected(f"made-up-{n}", known=False), POSITION, "x", 5) for n in range(1000)]
    assert {cause.host_id for cause, _ in found} == {""}
    assert {notice.priority for _, notice in found} == {"Warning"}
    assert "made-up-999" in found[-1][1].text


def test_forging_every_host_of_a_fleet_makes_no_flood_of_alerts() -> None:
    """The first hosts have alerts of their own, and go on having them; the others share one until it is quiet again."""
    batches = RejectedBatches()

    def about(number: int, at: int) -> str:
        return batches.notice(rejected(f"web-{number}"), POSITION, "", at)[0].host_id

    assert [about(number, 0) for number in range(MOST_HOSTS)] == [f"web-{number}" for number in range(MOST_HOSTS)]
    assert {about(number, 1) for number in range(MOST_HOSTS, 1000)} == {""}
    assert about(3, QUIET - 1) == "web-3"
    assert about(MOST_HOSTS, QUIET) == f"web-{MOST_HOSTS}"
    assert about(3, QUIET) == "web-3"
