"""Searches an archive for events that a rule matches because of new entries of its lists of indicators.

SQL chooses the events of which a value is in a new entry, among those that the rest of the rule's condition allows; the
engine decides on them. Entries that were searched for are remembered as hashes: eight bytes an entry, without a feed's
content.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from operator import and_
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import dataset
from sqlglot import exp

from lanner.archive.files import complete
from lanner.archive.restored import restored_batches
from lanner.archive.schema import BATCHES, EVENTS, MESSAGE
from lanner.hunting.columns import DIALECT
from lanner.hunting.conditions import SqlCondition, to_sql
from lanner.hunting.hunt import HuntLimits, connect, stated_heads
from lanner.hunting.new_matches import NewMatches, SearchedRule, marked, restrict
from lanner.hunting.results import CHUNK
from lanner.hunting.sources import Chunk
from processor.detection.repeats import RepeatedAlerts
from processor.indicators.lists import IndicatorList
from processor.language.tokens import IN_INDICATORS
from schemas.alert import Alert
from schemas.batch import EventBatch

_BYTES = 8
MAX_BYTES = 8 << 20
"""The size of a million entries."""
_ROWS = 5_000
"""Events that are restored at a time."""
_ORDER = ("appended", "partition", "offset", "index")
LIMITS = HuntLimits(memory_mib=256, threads=1)


def _hashed(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


class KnownEntries:
    """A set of entries."""

    def __init__(self, data: bytes = b"") -> None:
        """Take what `data` returned. Raises ValueError if it isn't that."""
        if len(data) % _BYTES or len(data) > MAX_BYTES:
            raise ValueError("it has not the size of hashes")
        self._hashes: NDArray[np.uint64] = np.unique(np.frombuffer(data, np.uint64))

    @classmethod
    def of(cls, texts: Iterable[str]) -> "KnownEntries":
        """Return the set of some entries."""
        return cls(b"".join(map(_hashed, texts)))

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def data(self) -> bytes:
        """The hashes."""
        return self._hashes.tobytes()

    def has(self, text: str) -> bool:
        """Return whether an entry is in the set."""
        value = np.frombuffer(_hashed(text), np.uint64)[0]
        at = int(np.searchsorted(self._hashes, value))
        return at < len(self._hashes) and bool(self._hashes[at] == value)

    def without(self, others: "KnownEntries") -> int:
        """Return how many entries are not among others."""
        return len(np.setdiff1d(self._hashes, others._hashes, assume_unique=True))  # noqa: SLF001  the same class


@dataclass(frozen=True, slots=True)
class NewEntries:
    """What is new of a list. An entry that came after the search began is for the next one."""

    known: KnownEntries
    """The entries that were searched for before."""
    pending: KnownEntries
    """All entries when the search began."""

    def is_new(self, text: str) -> bool:
        """Return whether an entry is searched for."""
        return self.pending.has(text) and not self.known.has(text)

    def was_known(self, text: str) -> bool:
        """Return whether an entry was there before."""
        return self.known.has(text)

    def counts(self, text: str) -> bool:
        """Return whether an entry was there when the search began."""
        return self.known.has(text) or self.pending.has(text)

    @property
    def count(self) -> int:
        """The number of new entries."""
        return self.pending.without(self.known)


@dataclass(frozen=True, slots=True)
class _Prepared:
    rule: SearchedRule
    sql: SqlCondition
    where: exp.Expr
    """Which events the engine decides on."""
    is_looked_up: bool
    """True if these have a value that is in a new entry."""


class PastSearch:
    """One search for the new entries of some lists; used by one thread. Nobody else uses its rules and lists."""

    def __init__(
        self,
        rules: Sequence[SearchedRule],
        new: Mapping[IndicatorList, NewEntries],
        repeats: Callable[[], RepeatedAlerts],
    ) -> None:
        """Prepare a search.

        Args:
            rules: those that use one of the lists.
            new: the lists that have new entries.
            repeats: returns what decides which alerts repeat others.
        """
        self.faults = 0
        """Events that could not be evaluated."""
        self._new = new
        self._repeats = repeats
        self._rules = [self._prepared(each) for each in rules]

    def _prepared(self, rule: SearchedRule) -> _Prepared:
        sql = to_sql(rule.rule.condition)
        where = sql.may
        new = [each.found(only_new=True) for each in sql.lookups if self._new.keys() & set(each.lists)]
        # SQL can't look up all values, such as those of ancestors.
        is_looked_up = bool(new) and not any(IN_INDICATORS in text for text in sql.engine)
        if is_looked_up:
            where = exp.and_(where, exp.or_(*new), copy=False)
        return _Prepared(rule, sql, where, is_looked_up)

    def alerts(
        self, chunk: Chunk, batches: dataset.Dataset, appended: tuple[int, int], now: int, room: int
    ) -> list[Alert]:
        """Return the alerts of a time range; the same events and entries always give alerts with the same ids.

        Args:
            chunk: has the events of this time range.
            batches: have what the headers of their batches state.
            appended: its start and its end, ms since the epoch.
            now: the time that alerts state, ns since the epoch.
            room: after so many alerts, the search ends.

        Raises:
            duckdb.Error: A file can't be read; OutOfMemoryException if too many events may match.
        """
        range_ = appended_within(*appended)
        connection = connect(LIMITS)
        found: list[Alert] = []
        try:
            for each in self._rules:
                # Repeats are counted within these hours alone, so that a search that continues counts alike.
                matches = NewMatches(each.rule, self._new, self._repeats())
                for rows in self._candidates(connection, each, chunk, range_):
                    for batch, positions in self._restored(rows, batches):
                        found += matches.alerts(batch, positions)
                    if len(found) >= room:
                        break
                found += matches.finish()
                self.faults += matches.faults
        finally:
            connection.close()
        return [marked(each, now) for each in found[:room]]

    def _candidates(
        self, connection: duckdb.DuckDBPyConnection, prepared: _Prepared, chunk: Chunk, range_: exp.Expr
    ) -> Iterator[pa.Table]:
        """Yield the events of a chunk that the engine decides on."""
        chunk.bind(connection, CHUNK)
        restrict(self._new, "counts")
        found = [each.fill(connection, CHUNK, range_, self._is_new) for each in prepared.sql.lookups]
        if prepared.is_looked_up and not any(found):
            return
        columns = [exp.column(name, quoted=True) for name in EVENTS.names]
        order = [exp.column(name) for name in _ORDER]
        query = exp.select(*columns).from_(CHUNK).where(exp.and_(range_.copy(), prepared.where.copy())).order_by(*order)
        for batch in connection.sql(query.sql(DIALECT, copy=False)).to_arrow_reader(_ROWS):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])

    def _is_new(self, indicators: IndicatorList, value: str) -> bool:
        new = self._new.get(indicators)
        return new is not None and any(new.is_new(each.text) for each in indicators.contents.table.find(value))

    @staticmethod
    def _restored(rows: pa.Table, batches: dataset.Dataset) -> Iterator[tuple[EventBatch, Sequence[int]]]:
        """Yield the batches of events, and the positions that these had in them."""
        stated = stated_heads(complete(rows))
        # Those whose file is damaged have only what their events state.
        places = (pc.field(name).isin(stated[name].unique()) for name in ("partition", "offset"))
        heads = {
            _place(row): row
            for each in (stated, batches.to_table(filter=reduce(and_, places)))
            for row in each.to_pylist()
        }
        known = {_place(row) for row in stated.to_pylist()}
        found = pa.Table.from_pylist([row for place, row in heads.items() if place in known], schema=BATCHES)
        indexes, numbers, at = rows["index"].to_pylist(), rows["number"].to_pylist(), 0
        for archived in restored_batches(rows, found):
            batch = archived.stored.batch
            end = at + batch.count
            batch.numbers = numbers[at:end]
            yield batch, indexes[at:end]
            at = end


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in MESSAGE)


def appended_within(since: int, until: int) -> exp.Expr:
    """Return whether an event was appended in a time range, ms since the epoch."""
    start, end = (exp.Anonymous(this="epoch_ms", expressions=[exp.Literal.number(each)]) for each in (since, until))
    time = exp.column("appended")
    return exp.and_(exp.GTE(this=time, expression=start), exp.LT(this=time.copy(), expression=end))
