"""The hunts of docs/hunting.md run."""

import re
import shlex
from pathlib import Path

import click
import pytest
from pyarrow import dataset

from lanner.archive.rows import ArchivedBatch, tables
from lanner.archive.schema import ALERTS, EVENTS
from lanner.commands.hunt import command
from lanner.hunting.hunt import Hunt, HuntLimits
from lanner.hunting.results import HuntResult
from lanner.hunting.sources import Chunk
from lanner.hunting.sql import SqlHunt, checked
from lanner.recorder.search import compile_search
from lanner.recorder.store import EventRange, StoredBatch
from tests.unit.processor.batches import INIT, batch_of

ROOT = Path(__file__).parents[4]
HUNTS = re.findall(r"^    lanner (hunt .*)$", (ROOT / "docs/hunting.md").read_text(), re.MULTILINE)
ROWS = next(
    tables([ArchivedBatch(StoredBatch(batch_of({"type": "execve"}, {"type": "openat"}, processes=[INIT]), 1), 0, 0)])
)


class Rows:
    """A source that has two events."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def chunks(self, *_: object) -> list[Chunk]:
        """Return them."""
        return [Chunk(ROWS.cast(EVENTS))]


def test_there_are_ten() -> None:
    """And one that shows what runs where."""
    assert len(HUNTS) == 12


@pytest.mark.parametrize("text", HUNTS)
def test_each_hunt_runs(text: str) -> None:
    """With its options."""
    context = command.make_context("hunt", shlex.split(text)[1:])
    given = context.params
    if given["sql"]:
        hunt = SqlHunt(dataset.dataset(ROWS), dataset.dataset(ALERTS.empty_table()), EventRange(0), HuntLimits())
        assert hunt.run(checked(given["sql"]), 10, lambda: False).num_rows == 1
        hunt.close()
        return
    edge = "first" if given["first"] else "last" if given["last"] else ""
    timeline = 3_600_000_000_000 if given["timeline"] else 0
    result = HuntResult(
        given["group_by"], given["fields"], given["count"], given["rare"] or 0, edge, timeline, given["limit"]
    )
    found = Hunt(compile_search(given["condition"], ()), result)
    assert found.run(Rows(), EventRange(0), lambda: False, lambda _: None).num_rows <= 1
    assert isinstance(context, click.Context)
