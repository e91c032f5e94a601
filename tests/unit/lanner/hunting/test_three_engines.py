"""One condition, three engines: what a rule matches live, in a replay of an archive, and in SQL are the same events.

The usual suite has a part of the events of some recordings. LANNER_ALL_RECORDINGS=1 has all events of all recordings,
which takes an hour.
"""

import io
import lzma
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import duckdb
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lanner.archive.restored import restored_batches
from lanner.archive.schema import BATCHES
from lanner.hunting.conditions import to_sql
from processor.compiler.batch import compile_rules
from processor.language.ast import Node
from processor.language.printer import print_condition
from processor.loading import load_rules, read_rule_files
from schemas.batch import EventBatch, subset
from schemas.catalog.fields import SYSCALL
from schemas.encoding.recording import read_open_recording
from tests.reference import shared_dir
from tests.unit.lanner.hunting.test_conditions import found_by_engine, found_by_sql, more, rows_of
from tests.unit.processor.compiler.test_against_interpreter import condition

ROOT = Path(__file__).parents[4]
EVERY = bool(os.environ.get("LANNER_ALL_RECORDINGS"))
RECORDINGS = [ROOT / "rules/acts.avro", *sorted((ROOT / "tests/recordings/ordinary").glob("*.avro.xz"))]
SAMPLE = {"acts.avro", "editor.avro.xz"}
UPSTREAM = shared_dir() / "conformance" / "rules_files" / "falcosecurity_rules"
_EACH = 200
"""In a sample, of events that no rule matches."""
_HITS = 3
"""In a sample, of events that a rule matches."""
_FEW = 500
"""Events that random conditions are tried on."""
_AT_ONCE = 15_000
"""Events in a table."""


@cache
def rules() -> dict[str, Node]:
    """Return the conditions of the shipped rules, and of upstream's if they are there, by name."""
    found = {}
    for name, files in (("shipped", [ROOT / "rules"]), ("upstream", sorted(UPSTREAM.glob("*.yaml")))):
        loaded = load_rules(read_rule_files(files)).rules
        found |= {f"{name}: {rule.name}": rule.condition for rule in loaded if rule.source == SYSCALL}
    return found


def recorded(path: Path) -> list[EventBatch]:
    """Return the batches of a recording."""
    data = path.read_bytes()
    with io.BufferedReader(io.BytesIO(lzma.decompress(data) if path.suffix == ".xz" else data)) as file:
        return list(read_open_recording(file, path))


def portions(path: Path, conditions: Sequence[Node]) -> Iterator[list[EventBatch]]:
    """Yield the batches of a recording, some at a time; in a sample, with a part of their events."""
    batches = recorded(path)
    if not EVERY:
        hits = set().union(*(sorted(each)[:_HITS] for each in found_by_engine(batches, compile_rules(conditions))))
        batches = [
            subset(batch, [at for at in range(batch.count) if (offset, at) in hits or at % _EACH == 0])
            for offset, batch in enumerate(batches)
        ]
    part: list[EventBatch] = []
    for batch in batches:
        part.append(batch)
        if sum(each.count for each in part) >= _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


class Recording:
    """Batches as they were evaluated live, as an archive gives them back, and as rows."""

    def __init__(self, batches: Sequence[EventBatch]) -> None:
        """Archive and restore them."""
        rows = rows_of(batches)
        restored = {each.offset: each.stored.batch for each in restored_batches(rows, BATCHES.empty_table())}
        assert sum(each.count for each in restored.values()) == sum(each.count for each in batches)
        self.live = batches
        # A batch without events has no rows.
        self.replayed = [restored.get(offset, batch) for offset, batch in enumerate(batches)]
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.register("given", rows)
        self._connection.execute("CREATE TABLE events AS SELECT * FROM given")

    def check(self, conditions: dict[str, Node]) -> int:
        """Compare the three engines; return how many conditions SQL decides alone."""
        compiled = compile_rules(list(conditions.values()))
        live, replayed = (found_by_engine(batches, compiled) for batches in (self.live, self.replayed))
        exact, wrong = 0, []
        for number, (name, node) in enumerate(conditions.items()):
            matches, again = (each[number] if number < len(each) else set() for each in (live, replayed))
            sql = to_sql(node)
            may, must = found_by_sql(self._connection, sql)
            if again != matches or not must <= matches <= may:
                text = print_condition(node)[:500]
                wrong.append(
                    (name, text, *(sorted(each)[:3] for each in (matches ^ again, must - matches, matches - may)))
                )
            exact += sql.is_exact
        assert wrong == []
        return exact


@pytest.mark.timeout(20_000 if EVERY else 300)
@pytest.mark.parametrize(
    "path", [each for each in RECORDINGS if EVERY or each.name in SAMPLE], ids=lambda path: path.name
)
def test_each_rule_matches_the_same_events_live_in_a_replay_and_in_sql(path: Path) -> None:
    """Shipped and upstream rules; SQL alone decides most of them, and bounds the others."""
    for batches in portions(path, list(rules().values())):
        assert Recording(batches).check(rules()) > len(rules()) / 2


@pytest.mark.timeout(20_000 if EVERY else 300)
@pytest.mark.parametrize(
    "path", [each for each in RECORDINGS if EVERY or each.name == "editor.avro.xz"], ids=lambda path: path.name
)
def test_random_conditions_match_the_same_recorded_events(path: Path) -> None:
    """As the rules do."""
    every = recorded(path)
    step = sum(each.count for each in every) // _FEW + 1
    recording = Recording([subset(batch, range(0, batch.count, step)) for batch in every])

    @settings(max_examples=100 if EVERY else 5, deadline=None, phases=[Phase.generate])
    @given(st.lists(condition | more, min_size=8, max_size=8))
    def same(conditions: list[Node]) -> None:
        recording.check({str(number): each for number, each in enumerate(conditions)})

    same()
