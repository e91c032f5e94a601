"""Alerts that wait on disk for a sink that isn't there any more: nobody would ever hear of them."""

from collections.abc import Callable, Collection
from pathlib import Path

from lanner.dead_letters.store import OUTBOX_ENDING
from notifier.queue.outbox import Outbox, OutboxUnusable


def tell_of_left(folder: Path, sinks: Collection[str], note: Callable[[str], None]) -> None:
    """Say of each outbox without a sink how many alerts wait in it.

    Args:
        folder: notifier.state_dir.
        sinks: names of those that are on.
        note: told a sentence for people.
    """
    for path in sorted(folder.glob(f"*{OUTBOX_ENDING}")):
        name = path.name.removesuffix(OUTBOX_ENDING)
        if name in sinks:
            continue
        try:
            outbox = Outbox(path, capacity=1)
        except OutboxUnusable:
            continue
        if waiting := outbox.backlog():
            note(f"{name}: {waiting:,} alerts wait in {path}, and nothing here delivers them.")
        outbox.close()
