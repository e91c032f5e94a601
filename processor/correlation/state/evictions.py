"""Reports what was evicted to make room, and values that had none."""

from collections import Counter
from collections.abc import Iterator

from processor.correlation.correlator import Correlator
from processor.correlation.notices import notice_of
from processor.correlation.pre_match import Notice, PreMatch
from processor.correlation.state.accounts import NEWCOMERS
from processor.correlation.state.store import OTHERS
from processor.detection.internal_alerts import EVENTS_LOST, GROUPS_EVICTED, VALUES_UNSTORED, Cause


def room_notices(
    correlator: Correlator, now: int, position: tuple[str, int, int], *, hostname: str = ""
) -> Iterator[PreMatch]:
    """Yield notices of what there was no room for since the last call.

    There is one for each account whose groups were evicted, and one for the values that full groups of first_seen
    could not store.

    Args:
        correlator: evaluates windows.
        now: the clock, ns since the epoch.
        position: in place of a batch, identifies the eviction: text, then two numbers, the last of which only grows.
        hostname: of the host, if all accounts belong to one.
    """
    for host, number in correlator.state.take_evicted().items():
        whose = {NEWCOMERS: "hosts that are new to the fleet", OTHERS: "other hosts"}.get(host, f"host id {host}")
        text = f"too many windows and counts of repeats: the oldest of {whose} were evicted"
        cause = Cause(host, hostname, now, position)
        yield notice_of(cause, Notice(EVENTS_LOST, "Warning", {GROUPS_EVICTED: number}, text), appended=now)
    if correlator.unstored:
        unstored, correlator.unstored = correlator.unstored, Counter()
        most = correlator.sightings.group_maximum
        text = f"groups of first_seen have {most:,} values and store no more: they don't fire for new values"
        notice = Notice(VALUES_UNSTORED, "Warning", unstored, text)
        yield notice_of(Cause("", hostname, now, position), notice, appended=now)
