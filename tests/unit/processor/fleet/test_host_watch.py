from processor.fleet.host_watch import QuietRecords
from processor.fleet.message_stage import MessageStage
from processor.hosts.liveness import QuietHosts, decode_quiet_hosts
from schemas.encoding.batch import encode_batch
from tests.unit.processor.batches import batch_of
from tests.unit.processor.fleet.test_message_stage import NOW, stage_of


def recorded(records: QuietRecords, committed: dict[int, int]) -> list[tuple[int, QuietHosts]]:
    """Return what is recorded if these offsets are committed."""
    return [(partition, decode_quiet_hosts(value)) for partition, value in records.take(committed)]


def heard(stage: MessageStage, host: str, appended: int, partition: int = 3) -> None:
    """Pass a batch of a host to the stage."""
    stage.take(partition, encode_batch(batch_of({"type": "openat"}, host_id=host)), appended)


def test_only_what_a_successor_can_begin_after_is_recorded() -> None:
    """It begins at the committed offset: what was evaluated later would be unknown to it."""
    stage = stage_of()
    heard(stage, "quiet", NOW)
    heard(stage, "awake", NOW + 30_000)
    records = QuietRecords(stage, clock=lambda: 5.0)
    records.capture({3: 42})
    assert recorded(records, {}) == recorded(records, {3: 41}) == []
    ((partition, quiet),) = recorded(records, {3: 42})
    assert (partition, quiet.position, quiet.until) == (3, 42, NOW + 10_000)
    assert [host.host_id for host in quiet.hosts] == ["quiet"]
    assert recorded(records, {3: 43}) == []


def test_records_are_made_from_time_to_time_where_something_came() -> None:
    """A partition at the same offset has nothing new, and one that is gone is another processor's to record."""
    now = 0.0
    stage = stage_of()
    heard(stage, "one", NOW)
    heard(stage, "other", NOW, partition=4)
    records = QuietRecords(stage, clock=lambda: now)
    records.capture({3: 1, 4: 1})
    assert len(recorded(records, {3: 1, 4: 1})) == 2
    now = 9.0
    records.capture({3: 2, 4: 1})
    assert recorded(records, {3: 2, 4: 1}) == []
    now = 11.0
    records.capture({3: 2, 4: 1})
    assert [(partition, quiet.position) for partition, quiet in recorded(records, {3: 2, 4: 1})] == [(3, 2)]
    now = 22.0
    records.capture({3: 3, 4: 2})
    records.forget([3])
    assert [partition for partition, _ in recorded(records, {3: 9, 4: 9})] == [4]
