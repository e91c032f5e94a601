"""Counts what this host's kernel sends and drops under the active rules."""

import sys
import time
from collections.abc import Mapping, Sequence

from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine, note
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.wiring.collector import make_collector
from processor.pushdown.cost import EventTypeCost, EventTypeCounts, count
from schemas.batch import EventBatch

_POLL_SECONDS = 0.2


def count_live(
    settings: Settings,
    detection: CompiledDetection,
    costs: Mapping[str, Sequence[EventTypeCost]],
    seconds: float,
    *,
    quiet: bool = False,
) -> tuple[dict[str, EventTypeCounts], int]:
    """Watch this host as `lanner run` would, for some time or until Ctrl-C.

    Args:
        settings: for the collector.
        detection: the rules.
        costs: cost by event type, from processor.pushdown.cost.shares.
        seconds: duration.
        quiet: show no status line.

    Returns:
        Counts by event type, and the number of lost events.

    Raises:
        EnvironmentUnsupported: This host doesn't support it.
    """
    counts: dict[str, EventTypeCounts] = {}

    def take(batch: EventBatch) -> None:
        count([batch], costs, counts)

    collector = make_collector(settings, detection.event_types, take, pushdown_filter=detection.pushdown_filter)
    status = StatusLine(sys.stderr, enabled=not quiet)
    filtered: Mapping[str, int] = {}
    with Signals() as signals:
        try:
            collector.start()
            if not quiet:
                note(f"counting on {collector.hostname} for {seconds:g} s. Stop: Ctrl-C")
            end = time.monotonic() + seconds
            while not signals.stop and (rest := end - time.monotonic()) > 0:
                collector.poll(min(_POLL_SECONDS, rest))
                sent = sum(each.seen for each in counts.values())
                left_out = collector.counters()["filtered"]
                status.show(f"{rest:.0f} s left: {sent:,} events sent, {left_out:,} left out")
            filtered = collector.filtered()
        finally:
            collector.stop()
            status.clear()
    for event in costs:
        of_event = counts.setdefault(event, EventTypeCounts())
        # What arrived was sent, even if the evaluation here, which sees less than the kernel, disagrees.
        of_event.sent = of_event.seen
        of_event.seen += filtered.get(event, 0)
    return counts, sum(collector.losses.values())
