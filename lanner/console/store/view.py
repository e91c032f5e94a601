"""Writes the view: takes alerts in batches, counts them by group and time, and deletes the oldest beyond its limits."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import randint

from foundation.caches import BoundedMap
from foundation.sqlite import as_os_errors, transaction
from lanner.console.store.record import OTHER_TEXTS, AlertRecord, group_key, shared_text
from lanner.console.store.rows import Mark
from lanner.console.store.tables import CELL_US, SPAN_CELLS, open_view

_FREE_TIMES = 1 << 16
"""Microseconds among which a free one is found soon, unless very many alerts have one time."""
MAX_TEXTS = 100
"""Texts of one rule and workload within a day that get a group of their own; further ones share a group."""
FUTURE_US = 3_600_000_000
"""An alert that is further ahead of the clock gets the time at which it arrived."""
_CACHED = 10_000
_PRUNED_AT_ONCE = 2000
_SIZE_STEP = 50
"""Beyond the limit on bytes, one fiftieth of the alerts goes."""
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class ViewLimits:
    """The limits of the view; the oldest alerts go first."""

    alerts: int = 1_000_000
    days: int = 30
    mib: int = 4096


class AlertView:
    """The writer of the view; there is one per file."""

    def __init__(self, path: Path | None, limits: ViewLimits | None = None) -> None:
        """Open the file. Raises DatabaseUnusable."""
        self.limits = limits or ViewLimits()
        self._base = open_view(path)
        self._texts: BoundedMap[str, int] = BoundedMap(_CACHED)
        self._groups: BoundedMap[tuple[str, str, str], int] = BoundedMap(_CACHED)
        self._headlines: BoundedMap[int, tuple[str, str]] = BoundedMap(_CACHED)
        """What the alerts of a group share: action and place."""
        self._shared: set[int] = set()
        """Groups of other texts."""
        self.count: int = self._value("SELECT count(*) FROM alerts")
        """Alerts that the view contains."""
        self._deleted = 0

    def add(self, records: Iterable[AlertRecord], now: int, positions: Mapping[int, int] | None = None) -> int:
        """Take alerts that the view doesn't have and that aren't too old for it; return their number. Raises OSError.

        now: ns since the epoch; positions: the next offset by partition, stored in the same transaction.
        """
        now_us = now // 1000
        oldest, newest = now_us - self.limits.days * _DAY_US, now_us + FUTURE_US
        ordered = sorted(records, key=lambda record: record.time)
        with transaction(self._base):
            added = self._insert(
                (record, number if number <= newest else now_us)
                for record in ordered
                if (number := record.time // 1000) >= oldest
            )
            self._base.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", (positions or {}).items())
        self.count += added
        return added

    def prune(self, now: int) -> int:
        """Delete a few of the oldest alerts if the view is beyond its limits; return their number. Raises OSError.

        now: ns since the epoch.
        """
        oldest = now // 1000 - self.limits.days * _DAY_US
        surplus = max(self.count - self.limits.alerts, 0)
        if surplus:
            # More at once costs less.
            surplus += min(self.limits.alerts // 100, _PRUNED_AT_ONCE)
        if not surplus and self._used_bytes() > self.limits.mib << 20:
            surplus = max(self.count // _SIZE_STEP, 1)
        surplus = min(surplus, 2 * _PRUNED_AT_ONCE)
        ids = [
            number
            for (number,) in self._base.execute(
                "SELECT id FROM alerts WHERE id < ? OR id IN (SELECT id FROM alerts ORDER BY id LIMIT ?) "
                "ORDER BY id LIMIT ?",
                (oldest, surplus, 2 * _PRUNED_AT_ONCE),
            )
        ]
        if ids:
            with transaction(self._base):
                self._delete(ids[-1])
            self.count -= len(ids)
        return len(ids)

    def positions(self) -> Mapping[int, int]:
        """Return, by partition, the offset of the next message to read."""
        return dict(self._base.execute("SELECT partition, offset FROM positions"))

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """Store what people decided; an empty value removes a mark. Raises OSError."""
        with transaction(self._base):
            for mark in marks:
                if mark.value:
                    self._base.execute(
                        "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)",
                        (mark.subject, mark.field, mark.value, mark.author, mark.at),
                    )
                else:
                    self._base.execute("DELETE FROM marks WHERE subject = ? AND field = ?", (mark.subject, mark.field))

    def clear_marks(self) -> None:
        """Forget all marks before they are read again. Raises OSError."""
        with transaction(self._base):
            self._base.execute("DELETE FROM marks")

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _insert(self, records: Iterable[tuple[AlertRecord, int]]) -> int:
        base = self._base
        cells: Counter[tuple[int, int]] = Counter()
        hosts: dict[tuple[int, int], int] = {}
        groups: dict[int, list[int]] = {}
        samples: dict[int, str] = {}
        changed: dict[int, tuple[str, str]] = {}
        added = 0
        for record, time in records:
            if base.execute("SELECT 1 FROM bodies WHERE uid = ?", (record.uid,)).fetchone():
                continue
            group = self._group(record)
            if group in self._shared:
                samples[group] = f"{record.action}, {record.place}"
            headline = self._headline(group)
            if headline != (record.action, record.place):
                place = headline[1] if headline[1] == record.place else ""
                merged = (shared_text(headline[0], record.action), place)
                if merged != headline:
                    self._headlines.put(group, merged)
                    changed[group] = merged
            dimensions = [self._text(value) for value in (record.host, record.user, record.namespace, record.image)]
            number = self._inserted(time, (group, *dimensions))
            base.execute("INSERT INTO bodies VALUES (?, ?, ?, ?)", (number, record.uid, record.searched, record.data))
            base.execute("INSERT INTO search (rowid, text) VALUES (?, ?)", (number, record.searched))
            cells[number // CELL_US, group] += 1
            hosts[group, dimensions[0]] = number
            counted = groups.setdefault(group, [0, number, number])
            counted[0] += 1
            counted[1], counted[2] = min(counted[1], number), max(counted[2], number)
            added += 1
        self._count(cells)
        base.executemany(
            "UPDATE groups SET sample = ? WHERE id = ?", ((text, group) for group, text in samples.items())
        )
        base.executemany(
            "UPDATE groups SET action = ?, place = ? WHERE id = ?",
            ((*texts, group) for group, texts in changed.items()),
        )
        base.executemany(
            "INSERT INTO group_hosts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
            ((group, host, last) for (group, host), last in hosts.items()),
        )
        base.executemany(
            "UPDATE groups SET count = count + ?, first = min(first, ?), last = max(last, ?) WHERE id = ?",
            ((*counted, group) for group, counted in groups.items()),
        )
        return added

    def _inserted(self, number: int, values: tuple[int, ...]) -> int:
        """Insert an alert at its time, or shortly after it; return its number.

        A host may send very many alerts of one time, so the range in which a free number is drawn grows each time,
        slowly once most of its numbers are free.
        """
        free, window = number, 1
        while True:
            try:
                self._base.execute("INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?)", (free, *values))
            except sqlite3.IntegrityError:
                free = number + randint(1, window)  # noqa: S311  no secret is drawn
                window += window if window < _FREE_TIMES else window // 8
            else:
                return free

    def _group(self, record: AlertRecord) -> int:
        identity = (record.rule, record.workload, record.text)
        if (known := self._groups.get(identity)) is not None:
            return known
        text = record.text
        number = self._value("SELECT id FROM groups WHERE key = ?", group_key(*identity))
        if not number:
            texts = self._value(
                "SELECT count(*) FROM groups WHERE rule = ? AND workload = ? AND last > ?",
                *identity[:2],
                record.time // 1000 - _DAY_US,
            )
            if texts >= MAX_TEXTS:
                text = OTHER_TEXTS
                number = self._value("SELECT id FROM groups WHERE key = ?", group_key(*identity[:2], text))
        if not number:
            number = self._new_group(record, text)
        if text == OTHER_TEXTS:
            self._shared.add(number)
        self._groups.put(identity, number)
        return number

    def _new_group(self, record: AlertRecord, text: str) -> int:
        now = record.time // 1000
        row = (group_key(record.rule, record.workload, text), record.rule, record.workload, text, record.priority)
        texts = (f"{record.action}, {record.place}", record.action, record.place, record.description, record.response)
        number = self._base.execute(
            "INSERT INTO groups (key, rule, workload, text, priority, tags, count, first, last, sample, action, place, "
            "description, response) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            (*row, "\n".join(record.tags), now, now, *texts),
        ).lastrowid
        assert number is not None  # noqa: S101  a row was inserted
        self._base.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", ((tag, number) for tag in record.tags))
        return number

    def _headline(self, group: int) -> tuple[str, str]:
        known = self._headlines.get(group)
        if known is None:
            action, place = self._base.execute("SELECT action, place FROM groups WHERE id = ?", (group,)).fetchone()
            known = (action, place)
            self._headlines.put(group, known)
        return known

    def _text(self, value: str) -> int:
        known = self._texts.get(value)
        if known is None:
            self._base.execute("INSERT OR IGNORE INTO texts (value) VALUES (?)", (value,))
            known = self._value("SELECT id FROM texts WHERE value = ?", value)
            self._texts.put(value, known)
        return known

    def _delete(self, last: int) -> None:
        """Delete the alerts up to a number, and what only they counted for."""
        base = self._base
        counted = base.execute(
            f"SELECT grp, id / {CELL_US}, count(*) FROM alerts WHERE id <= ? GROUP BY 1, 2",  # noqa: S608  a number
            (last,),
        ).fetchall()
        base.execute(
            "INSERT INTO search (search, rowid, text) SELECT 'delete', id, text FROM bodies WHERE id <= ?", (last,)
        )
        base.execute("DELETE FROM bodies WHERE id <= ?", (last,))
        base.execute("DELETE FROM alerts WHERE id <= ?", (last,))
        self._count(Counter({(cell, group): -count for group, cell, count in counted}))
        base.executemany("UPDATE groups SET count = count - ? WHERE id = ?", ((n, g) for g, _, n in counted))
        for table in ("cells", "totals"):
            base.execute(f"DELETE FROM {table} WHERE cell <= ? AND count <= 0", (last // CELL_US,))  # noqa: S608  names
        for group in {group for group, _, _ in counted}:
            base.execute("DELETE FROM spans WHERE grp = ? AND count <= 0", (group,))
            if base.execute("DELETE FROM groups WHERE id = ? AND count <= 0", (group,)).rowcount:
                base.execute("DELETE FROM tags WHERE grp = ?", (group,))
                base.execute("DELETE FROM group_hosts WHERE grp = ?", (group,))
                self._groups, self._headlines = BoundedMap(_CACHED), BoundedMap(_CACHED)
        self._deleted += 1
        if self._deleted % _SIZE_STEP == 0:
            base.execute("DELETE FROM group_hosts WHERE last <= ?", (last,))
            self._delete_texts()

    def _count(self, cells: Counter[tuple[int, int]]) -> None:
        """Add to the counts of cells, by cell and group, and to those of spans and of all groups together."""
        spans: Counter[tuple[int, int]] = Counter()
        totals: Counter[tuple[int, int]] = Counter()
        priorities = {
            group: self._value("SELECT priority FROM groups WHERE id = ?", group)
            for group in {group for _, group in cells}
        }
        for (cell, group), count in cells.items():
            spans[group, cell // SPAN_CELLS] += count
            totals[cell, priorities[group]] += count
        for table, counts in (("cells", cells), ("spans", spans), ("totals", totals)):
            self._base.executemany(
                f"INSERT INTO {table} VALUES (?, ?, ?) "  # noqa: S608  names
                "ON CONFLICT DO UPDATE SET count = count + excluded.count",
                ((*key, count) for key, count in counts.items()),
            )

    def _delete_texts(self) -> None:
        """Delete names that no alert has any longer."""
        used = " UNION ".join(f"SELECT {column} FROM alerts" for column in ("host", "user", "namespace", "image"))  # noqa: S608
        self._base.execute(f"DELETE FROM texts WHERE id NOT IN ({used})")  # noqa: S608  no value is in the text
        self._texts = BoundedMap(_CACHED)

    def _used_bytes(self) -> int:
        pages = self._value("PRAGMA page_count") - self._value("PRAGMA freelist_count")
        return pages * self._value("PRAGMA page_size")

    def _value(self, query: str, *values: str | int) -> int:
        with as_os_errors():
            row = self._base.execute(query, values).fetchone()
        return 0 if row is None else int(row[0])
