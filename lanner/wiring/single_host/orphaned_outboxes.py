"""Finds alerts in the outbox of a sink that is no longer configured: nothing would ever deliver or report them."""

from collections.abc import Collection
from pathlib import Path

from lanner.dead_letters.store import OUTBOX_ENDING
from notifier.queue.database import DatabaseUnusable
from notifier.queue.outbox import Outbox
from schemas.text.counts import count_of
from schemas.text.notes import OnNote


def report_orphaned_outboxes(folder: Path, sinks: Collection[str], note: OnNote) -> None:
    """Report how many alerts wait in each outbox that has no sink.

    Args:
        folder: notifier.state_dir.
        sinks: names of the enabled sinks.
        note: receives messages for an operator.
    """
    for path in sorted(folder.glob(f"*{OUTBOX_ENDING}")):
        name = path.name.removesuffix(OUTBOX_ENDING)
        if name in sinks:
            continue
        try:
            outbox = Outbox(path, capacity=1)
        except DatabaseUnusable:
            continue
        if waiting := outbox.backlog():
            note(f"{name}: {count_of(waiting, 'alert')} in {path}, but no sink is configured that delivers them.")
        outbox.close()
