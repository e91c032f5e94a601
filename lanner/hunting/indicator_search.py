"""Searches an archive by itself for the entries that lists of indicators gain.

Files beside the archive state which entries were searched for, and how far a search is, so a process that is killed
continues where it was. What it published since then is published again with the same ids. One search runs at a time,
oldest hour first, on half of a core at most.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import fs

from foundation.files import write_atomically
from foundation.quantities import iso8601_zulu
from foundation.text import OnNote, count_of, printable
from lanner.archive.files import HOUR_MS, ArchiveFiles, hour_of
from lanner.archive.schema import restored_text
from lanner.errors import BadInput
from lanner.hunting.hunt import connect
from lanner.hunting.new_matches import SearchedRule
from lanner.hunting.past import LIMITS, MAX_BYTES, KnownEntries, NewEntries, PastSearch
from lanner.hunting.sources import ArchiveSource, Chunk
from lanner.recorder.coverage import HostCoverage, not_collected
from processor.compiler.batch import compile_rules
from processor.detection.repeats import RepeatedAlerts
from processor.indicators.lists import IndicatorList
from processor.language.printer import print_condition
from processor.output.internal_alerts import indicators_searched
from processor.pushdown.derive import derive, has_looked_up_names, variables_in
from schemas.alert import Alert, Value

_FOLDER = "indicators"
_PROGRESS = "search.json"
_MAX_STATE = 1 << 20
_DAY_MS = 86_400_000
_MARGIN_MS = 120_000
"""How long after new entries appeared here the last processor uses them. What both find has one id."""
MAX_ALERTS = 10_000
"""The most alerts of a search."""
_SHORTEST_MS = 60_000
_ATTEMPTS = 3
_MAX_SENTENCES = 20
_MAX_SAID = 4_000
"""Characters of the names of hosts and types that an alert states."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """A search that is not complete."""

    lists: tuple[str, ...]
    since: int
    """ms since the epoch."""
    until: int
    done: int
    """The start of the first hour that was not searched."""
    alerts: int = 0
    faults: int = 0
    unread: int = 0
    """Files that could not be read."""


class SearchedEntries:
    """What was searched for, in files beside an archive."""

    def __init__(self, files: ArchiveFiles) -> None:
        """Take an archive."""
        self._system, self._folder = files.system, f"{files.root}/{_FOLDER}"

    @property
    def is_new(self) -> bool:
        """True if nothing was ever searched or noted."""
        return self._read(_PROGRESS, _MAX_STATE) is None

    def progress(self) -> _Progress | None:
        """Return the search that is not complete, if there is one."""
        try:
            row = json.loads(self._read(_PROGRESS, _MAX_STATE) or b"{}")
            lists = tuple(map(str, row.pop("lists", ())))
            return _Progress(lists, **{str(name): int(value) for name, value in row.items()}) if row else None
        except (ValueError, TypeError, AttributeError):
            return None

    def put_progress(self, progress: _Progress | None) -> None:
        """Store how far a search is; None if none is under way."""
        self._write(_PROGRESS, json.dumps({} if progress is None else asdict(progress)).encode())

    def entries(self, name: str, what: str) -> KnownEntries | None:
        """Return the known or pending entries of a list; None if there are none."""
        data = self._read(f"{name}.{what}", MAX_BYTES)
        try:
            return None if data is None else KnownEntries(data)
        except ValueError:
            return None

    def put_entries(self, name: str, what: str, entries: KnownEntries) -> None:
        """Store the known or pending entries of a list."""
        self._write(f"{name}.{what}", entries.data)

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            with self._system.open_input_stream(f"{self._folder}/{name}") as file:
                return bytes(file.read(limit + 1))
        except FileNotFoundError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self._folder}/{name}"
        if isinstance(self._system, fs.LocalFileSystem):
            write_atomically(Path(path), [data], is_shared=True, is_synced=True)
            return
        # An object appears when its upload is complete.
        with self._system.open_output_stream(path) as file:
            file.write(data)


@dataclass(frozen=True, slots=True)
class SearchPorts:
    """What a search needs of its process."""

    rules: Callable[[], Sequence[SearchedRule]]
    """Returns the active rules that use lists of indicators; they are nobody else's. Raises LannerError."""
    publish: Callable[[Sequence[Alert]], None]
    """Returns once the alerts are stored. Raises Stopped."""
    repeats: Callable[[], RepeatedAlerts]
    stop: Callable[[], bool]
    wait: Callable[[float], object]
    """Waits for so many seconds, or until the process ends."""
    note: OnNote


class IndicatorSearch:
    """Looks for new entries, and searches for them; used by one thread."""

    def __init__(self, files: ArchiveFiles, ports: SearchPorts, *, days: int, delay_ms: int) -> None:
        """Take an archive.

        Args:
            files: the archive.
            ports: what it needs of its process.
            days: how far back to search.
            delay_ms: how long it takes until what arrives is in a file.
        """
        self.state = SearchedEntries(files)
        self._source = ArchiveSource(files)
        self._ports = ports
        self._days = days
        self._delay_ms = delay_ms
        self._seen: dict[str, int] = {}
        """By list without new entries, the checksum of its table."""
        self._failed: set[str] = set()

    def look(self, now: int) -> None:
        """Note new entries, and search for them once the archive has what happened until then.

        now: ms since the epoch. Raises OSError and LannerError; what was not done is done at the next look.
        """
        rules = self._ports.rules()
        lists = {one.spec.name: one for each in rules for one in each.lists}
        readable = {name: one for name, one in lists.items() if self._is_readable(one)}
        progress = self.state.progress()
        if progress is None:
            progress = self._noticed(readable, now)
        if progress is None or now < progress.until + self._delay_ms:
            return
        new = {
            one: NewEntries(self.state.entries(name, "known") or KnownEntries(), pending)
            for name, one in readable.items()
            if name in progress.lists and (pending := self.state.entries(name, "pending")) is not None
        }
        used = [each for each in rules if any(one in new for one in each.lists)]
        if used:
            self._search(progress, used, new)
        if not self._ports.stop():
            for name in progress.lists:
                if (pending := self.state.entries(name, "pending")) is not None:
                    self.state.put_entries(name, "known", pending)
            self.state.put_progress(None)

    def _is_readable(self, indicators: IndicatorList) -> bool:
        name = indicators.spec.name
        try:
            indicators.load()
        except OSError as error:
            if name not in self._failed:
                self._ports.note(f"indicators {name}: the file can't be read: {error.strerror or error}.", "warning")
            self._failed.add(name)
            return False
        self._failed.discard(name)
        return True

    def _noticed(self, lists: Mapping[str, IndicatorList], now: int) -> _Progress | None:
        """Return a search for the entries that are new, and store them; None if there are none."""
        is_first = self.state.is_new
        found: list[str] = []
        for name, one in lists.items():
            table = one.contents.table
            if self._seen.get(name) == table.checksum:
                continue
            current = KnownEntries.of(table.texts())
            known = self.state.entries(name, "known")
            if is_first or (known is not None and not current.without(known)):
                self.state.put_entries(name, "known", current)
                self._seen[name] = table.checksum
                continue
            self.state.put_entries(name, "pending", current)
            found.append(name)
            count = NewEntries(known or KnownEntries(), current).count
            self._ports.note(f"indicators {name}: {count_of(count, 'new entry', 'new entries')} to search for.")
        progress = None
        if found:
            until = now + _MARGIN_MS
            progress = _Progress(tuple(found), now - self._days * _DAY_MS, until, hour_of(now - self._days * _DAY_MS))
        if found or is_first:
            self.state.put_progress(progress)
        return progress

    def _search(
        self, progress: _Progress, rules: Sequence[SearchedRule], new: Mapping[IndicatorList, NewEntries]
    ) -> None:
        search = PastSearch(rules, new, self._ports.repeats)
        for hour, chunk in self._source.hours(progress.done, progress.until).items():
            if hour < progress.done:
                continue
            if self._ports.stop():
                return
            began = time.monotonic()
            bounds = (max(hour, progress.since), min(hour + HOUR_MS, progress.until))
            room = MAX_ALERTS - progress.alerts
            alerts, unread = self._of_hour(search, chunk, bounds, room) if room > 0 else ([], 0)
            self._ports.publish(alerts)
            progress = replace(
                progress,
                done=hour + HOUR_MS,
                alerts=progress.alerts + len(alerts),
                faults=progress.faults + search.faults,
                unread=progress.unread + unread,
            )
            search.faults = 0
            self.state.put_progress(progress)
            self._ports.wait(time.monotonic() - began)
        if not self._ports.stop():
            self._report(progress, rules, new)

    def _of_hour(self, search: PastSearch, chunk: Chunk, bounds: tuple[int, int], room: int) -> tuple[list[Alert], int]:
        """Return the alerts of an hour, and how many files of it could not be read."""
        error: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self._within(search, chunk, bounds, room), 0
            except (duckdb.Error, pa.ArrowException, OSError) as failure:
                error = failure
                # Its files may have been merged.
                fresh = self._source.hours(bounds[0], bounds[0])
                chunk = fresh.get(hour_of(bounds[0]), Chunk())
                if not chunk.name:
                    return [], 0
        found: list[Alert] = []
        unread = 0
        for part in chunk.parts or (chunk,):
            try:
                found += self._within(search, part, bounds, room - len(found))
            except (duckdb.Error, pa.ArrowException, OSError) as failure:
                error, unread = failure, unread + 1
        if unread:
            self._ports.note(f"{chunk.name}: {str(error).splitlines()[0]}: its events were not searched.", "warning")
        return found, unread

    def _within(self, search: PastSearch, chunk: Chunk, bounds: tuple[int, int], room: int) -> list[Alert]:
        now = time.time_ns()
        try:
            return search.alerts(chunk, self._source.batches(*bounds), bounds, now, max(room, 0))
        except duckdb.OutOfMemoryException:
            start, end = bounds
            if end - start <= _SHORTEST_MS:
                raise
            middle = (start + end) // 2
            found = self._within(search, chunk, (start, middle), room)
            return found + self._within(search, chunk, (middle, end), room - len(found))

    def _report(
        self, progress: _Progress, rules: Sequence[SearchedRule], new: Mapping[IndicatorList, NewEntries]
    ) -> None:
        """Publish what was searched, what was found, and what was not collected."""
        count = sum(each.count for each in new.values())
        names = ", ".join(progress.lists)
        missing = [printable(each) for each in self._missing(progress, rules)]
        since, until = (iso8601_zulu(at * 1_000_000) for at in (progress.since, progress.until))
        text = f"{count_of(count, 'new entry', 'new entries')} of {names} searched for from {since} to {until}: "
        text += count_of(progress.alerts, "alert")
        if progress.alerts >= MAX_ALERTS:
            text += "; further ones were not made"
        if missing:
            text += f" | not seen: {'; '.join(missing)}"[:_MAX_SAID]
        fields: dict[str, Value] = {
            "indicator.list": tuple(progress.lists),
            "indicator.entries": count,
            "indicator.alerts": progress.alerts,
            "indicator.not_seen": tuple(missing),
        }
        identity = (*progress.lists, str(progress.since), str(progress.until))
        self._ports.publish([indicators_searched(identity, progress.until * 1_000_000, text, fields)])
        self._ports.note(f"{printable(text)}.")

    def _missing(self, progress: _Progress, rules: Sequence[SearchedRule]) -> list[str]:
        conditions = [each.rule.condition for each in rules]
        types = frozenset(compile_rules(conditions).matchers)
        texts = [*map(print_condition, conditions), *(each.rule.output for each in rules)]
        needed = derive(conditions, types, variables=variables_in(texts), names=has_looked_up_names(texts))
        found = not_collected(types, needed, self._hosts(progress))
        source = self._source
        source.remarks.clear()
        source.remark(progress.since)
        found += source.remarks
        if progress.unread:
            found.append(f"{count_of(progress.unread, 'file')} of the archive could not be read")
        if progress.faults:
            found.append(f"{count_of(progress.faults, 'event')} could not be evaluated")
        more = len(found) - _MAX_SENTENCES
        return [*found[:_MAX_SENTENCES], *([f"and {more} more reasons"] if more > 0 else [])]

    def _hosts(self, progress: _Progress) -> dict[str, HostCoverage]:
        """Return what each host collected."""
        connection = connect(LIMITS)
        hosts: dict[str, HostCoverage] = {}
        try:
            connection.register("batches", self._source.batches(progress.since, progress.until))
            stated = connection.sql("SELECT DISTINCT host_id, hostname, watched, narrowed, interest FROM batches")
            for host_id, hostname, watched, narrowed, interest in _rows(stated):
                host = hosts.setdefault(host_id, HostCoverage(restored_text(hostname), progress.since, progress.until))
                host.collects(watched or (), narrowed or (), interest or b"")
        except duckdb.Error as error:
            raise BadInput(f"what hosts collected can't be read: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()
        return hosts


def _rows(stated: duckdb.DuckDBPyRelation) -> list[tuple[str, str, list[str] | None, list[str] | None, bytes | None]]:
    return stated.fetchall()
