from lanner.recorder.coverage import HostCoverage, RecordingCoverage, sentences
from lanner.recorder.store import StoredBatch
from tests.unit.processor.batches import TIME, batch_of

SECOND = 1_000_000_000
NOON = TIME // 1_000_000


def batch(sequence: int, **facts: object) -> StoredBatch:
    """Return a batch of one host."""
    made = batch_of({"type": "openat"}, sequence=sequence)
    for name, value in facts.items():
        setattr(made, name, value)
    return StoredBatch(made, NOON + sequence * 1000)


def reported(*batches: StoredBatch) -> HostCoverage:
    """Return the coverage of the host after some batches."""
    coverage = RecordingCoverage()
    for each in batches:
        coverage.see(each)
    (host,) = coverage.hosts.values()
    return host


def test_what_is_watched_is_reported() -> None:
    """Full and filtered event types are listed, and that there are no others."""
    first, second, *rest = sentences(reported(batch(7, watched=["execve"], narrowed=["openat"])))
    assert first == "Collected in full: execve. No other event types were collected."
    assert second == "Collected only if a rule at that time could match: openat."
    assert rest == []


def test_that_nobody_stated_what_is_watched_is_reported() -> None:
    """Unknown coverage is reported as such."""
    assert sentences(reported(batch(7))) == [
        "Which events were collected is unknown: no batch of this time reports it."
    ]


def test_a_change_of_what_is_watched_is_reported() -> None:
    """Event types that were watched, or sent in full, only part of the time are listed."""
    host = reported(batch(7, watched=["execve", "bind"]), batch(8, watched=["execve"], narrowed=["openat"]))
    assert (host.watched, host.narrowed, host.partly) == ({"execve"}, set(), {"bind", "openat"})
    assert host.gone(frozenset({"execve", "openat", "ptrace"})) == {"ptrace"}
    narrower = reported(batch(7, watched=["openat"]), batch(8, narrowed=["openat"]), batch(9, watched=["openat"]))
    assert (narrower.watched, narrower.narrowed) == (set(), {"openat"})


def test_losses_and_gaps_are_reported() -> None:
    """Losses are listed by reason, gaps by sequence number."""
    host = reported(batch(7, lost={"events_ring_full": 3}), batch(11, lost={"spool_full": 4}))
    text = " ".join(sentences(host))
    assert "7 events were lost (events_ring_full: 3, spool_full: 4)." in text
    assert "3 batches are missing (numbers 8 to 10)." in text


def test_beginnings_and_ends_of_collectors_are_reported() -> None:
    """Nothing was collected between a stop and the next start."""
    text = " ".join(sentences(reported(batch(7), batch(8, stopping=True))))
    assert "was stopped cleanly" in text
    text = " ".join(sentences(reported(batch(8, stopping=True), batch(1, collector_start=TIME, boot_id="boot-2"))))
    assert "A collector started at" in text
    assert "stopped" not in text


def test_a_corrected_clock_is_reported() -> None:
    """The report states that times differ from the host's own."""
    stored = batch(7)
    text = " ".join(sentences(reported(StoredBatch(stored.batch, stored.appended, -3600 * SECOND))))
    assert "The host's clock was 3600 s ahead of the broker's: times are corrected." in text
