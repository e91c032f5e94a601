"""Reports windows and counts of repeats that were evicted to make room."""

from collections.abc import Iterator, Mapping

from processor.correlation.notices import notice_of
from processor.correlation.pre_match import Notice, PreMatch
from processor.correlation.state.accounts import NEWCOMERS
from processor.correlation.state.store import OTHERS
from processor.detection.internal_alerts import EVENTS_LOST, GROUPS_EVICTED, Cause


def eviction_notices(
    evicted: Mapping[str, int], now: int, position: tuple[str, int, int], *, hostname: str = ""
) -> Iterator[PreMatch]:
    """Yield a notice for each account whose groups were evicted.

    Args:
        evicted: the number of groups by account.
        now: the clock, ns since the epoch.
        position: in place of a batch, identifies the eviction: text, then two numbers, the last of which only grows.
        hostname: of the host, if all accounts belong to one.
    """
    for host, number in evicted.items():
        whose = {NEWCOMERS: "hosts that are new to the fleet", OTHERS: "other hosts"}.get(host, f"host id {host}")
        text = f"too many windows and counts of repeats: the oldest of {whose} were evicted"
        cause = Cause(host, hostname, now, position)
        yield notice_of(cause, Notice(EVENTS_LOST, "Warning", {GROUPS_EVICTED: number}, text), appended=now)
