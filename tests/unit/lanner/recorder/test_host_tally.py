from typing import Any

from lanner.recorder.host_tally import FleetHost, HostTally
from schemas.encoding.batch import BatchHead


def head(**facts: Any) -> BatchHead:
    """Make a header."""
    plain: dict[str, Any] = {
        "host_id": "id",
        "hostname": "web-1",
        "collector_start": 1,
        "created": 0,
        "collector_version": "0.1.0",
        "kernel": "6.12",
        "rules_version": "",
        "interest_version": "",
        "cpu_seconds": 0.0,
        "memory_bytes": 0,
        "lost": {},
        "watched": (),
        "narrowed": (),
        "stopping": False,
    }
    return BatchHead(**(plain | facts))


def tallied(*seen: tuple[int, BatchHead]) -> FleetHost:
    """Return the host of batches, given with their append times in seconds."""
    tally = HostTally()
    for second, each in seen:
        tally.see(each, second * 1000)
    return tally.host()


def test_losses_are_those_of_the_last_minute() -> None:
    """Older ones no longer count, by the time of the newest batch."""
    host = tallied((0, head(lost={"ring": 7})), (50, head(lost={"ring": 1, "process_stale": 2})), (90, head()))
    assert host.losses == {"ring": 1, "process_stale": 2}
    assert host.lost == 1


def test_what_is_watched_stays_known() -> None:
    """Only some batches state it."""
    host = tallied((0, head(watched=("execve",), narrowed=("openat",))), (1, head()))
    assert (host.seen, host.watched, host.narrowed) == (1000, ("execve",), ("openat",))
    assert tallied((0, head())).watched is None


def test_the_lag_is_without_the_error_of_the_clock() -> None:
    """A clock that is an hour behind doesn't make a batch late."""
    tally = HostTally()
    tally.see(head(created=10_000_000_000), 3_611_000, offset=3600 * 10**9)
    host = tally.host()
    assert (host.lag, host.offset) == (1000, 3600 * 10**9)
