"""Reads stored events, of a recording or a fleet, and compares what two versions of the rules cost."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lanner.cli.signals import Signals
from lanner.cli.terminal.output import StatusLine
from lanner.installation.libraries import need
from lanner.recorder.batches import from_files
from lanner.recorder.coverage import RecordingCoverage
from lanner.recorder.evaluation.backtest import not_collected
from lanner.recorder.evaluation.rule_costs import CostComparison, RuleCosts
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.wiring.kafka import reachable_connection
from processor.correlation.plan.split import Plan
from schemas.filter import always
from schemas.text.counts import count_of
from schemas.text.durations import duration_text


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """The costs, and what limits their meaning."""

    costs: CostComparison
    remarks: tuple[str, ...]
    """What was not collected, so that no cost of it is known."""
    is_complete: bool
    """Whether all stored events were evaluated."""


def measured_costs(
    settings: Settings,
    before: CompiledDetection,
    draft: CompiledDetection,
    recording: Path | None,
    since: int,
    *,
    quiet: bool,
) -> MeasuredCosts:
    """Evaluate both versions on stored events, maybe none; Ctrl-C ends it early, with what was read until then.

    Events of the types in collector.always_sent count as sent by both, as collectors send them.

    Args:
        settings: for the broker.
        before: the active version.
        draft: the other one.
        recording: a recording; None for the topic of a fleet.
        since: only events that arrived later, ms since the epoch.
        quiet: don't show the progress.

    Raises:
        BadInput: The recording can't be read.
        BusUnavailable: No broker, or no such topic.
    """
    versions = [
        (version.ruleset, always(version.pushdown_filter, settings.collector.always_sent))
        for version in (before, draft)
    ]
    costs = RuleCosts(versions[0], versions[1], clock=time.thread_time_ns)
    coverage = RecordingCoverage()
    status = StatusLine(sys.stderr, enabled=not quiet)
    remarks: list[str] = []
    with Signals(restores=True) as signals:
        if recording is None:
            need("processor", "confluent_kafka")
            from lanner.recorder.topic.range import TopicRange  # noqa: PLC0415 - needs the broker's client

            stretch = TopicRange(reachable_connection(settings), since, None)
            batches, remarks = stretch.batches(lambda _: True, lambda: signals.stop), stretch.remarks
        else:
            batches = from_files((recording,), since * 1_000_000)
        for stored in batches:
            if stored.appended >= since:
                coverage.see(stored)
                costs.take(stored)
                status.show(f"{count_of(costs.events, 'event')}, {count_of(costs.alerts, 'alert')} of the draft")
            if signals.stop:
                remarks.append("stopped early")
                break
    status.clear()
    missing = not_collected(draft.event_types, draft.pushdown_filter, coverage.hosts)
    found = costs.finish()
    learning = _still_learning(draft.ruleset.plan, found) if found.events else ()
    return MeasuredCosts(found, (*remarks, *missing, *learning), not signals.stop)


def _still_learning(plan: Plan, costs: CostComparison) -> Iterator[str]:
    """Yield the macros whose groups only learned, since the evaluated time is shorter than their learning period."""
    for macro in plan.macros:
        learning = macro.correlation.learning
        if macro.correlation.type == "first_seen" and learning >= costs.milliseconds * 1_000_000:
            yield f"alerts of {macro.name}, which learns for the first {duration_text(learning)}"
