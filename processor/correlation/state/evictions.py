"""Reports what was evicted to make room, and values that had none."""

from collections import Counter
from collections.abc import Iterator

from processor.correlation.pre_match import Notice, PreMatch, notice_of
from processor.correlation.state.accounts import NEWCOMERS
from processor.correlation.state.store import OTHERS
from processor.correlation.state.window_state import WindowState
from processor.detection.internal_alerts import EVENTS_LOST, GROUPS_EVICTED, VALUES_UNSTORED, Cause


def room_notices(
    state: WindowState, now: int, position: tuple[str, int, int], *, hostname: str = ""
) -> Iterator[PreMatch]:
    """Yield notices of what there was no room for since the last call.

    There is one for each account whose groups were evicted, and one for each host that brought groups of first_seen
    too many values.

    Args:
        state: windows and values.
        now: the clock, ns since the epoch.
        position: in place of a batch, identifies the eviction: text, then two numbers, the last of which only grows.
        hostname: of the host, if all accounts belong to one.
    """
    for host, number in state.take_evicted().items():
        whose = {NEWCOMERS: "hosts that are new to the fleet", OTHERS: "other hosts"}.get(host, f"host id {host}")
        text = f"too many windows and counts of repeats: the oldest of {whose} were evicted"
        cause = Cause(host, hostname, now, position)
        yield notice_of(cause, Notice(EVENTS_LOST, "Warning", {GROUPS_EVICTED: number}, text), appended=now)
    if unstored := state.take_unstored():
        by_host: dict[str, tuple[str, Counter[str]]] = {}
        for (host, name, whose), number in unstored.items():
            by_host.setdefault(host, (name, Counter()))[1][whose] += number
        most = state.sightings.group_maximum
        text = f"groups of first_seen store {most:,} values each: further ones of those named are not reported"
        for host, (name, numbers) in by_host.items():
            notice = Notice(VALUES_UNSTORED, "Warning", numbers, text)
            yield notice_of(Cause(host, name, now, position), notice, appended=now)
