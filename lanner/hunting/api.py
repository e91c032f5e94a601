"""`lanner.hunt`: finds stored events, for other programs. Starts no stage and prints nothing."""

import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa

from lanner.archive.files import open_folder
from lanner.hunting.hunt import Hunt, HuntLimits
from lanner.hunting.results import HuntResult, masked
from lanner.hunting.sources import ArchiveSource, RowSource, StoreSource
from lanner.recorder.recording import RecordingStore
from lanner.recorder.search import compile_search
from lanner.recorder.store import EventRange, is_archive
from processor.loading import read_rule_files
from processor.output.redaction import DEFAULT, Redaction

_NANOSECONDS = 1_000_000_000


def hunt(
    condition: str,
    source: str | Path,
    *,
    since: datetime | timedelta = timedelta(days=1),
    until: datetime | None = None,
    host: str | None = None,
    group_by: Sequence[str] = (),
    fields: Sequence[str] = (),
    count: bool = False,
    rare: int = 0,
    edge: Literal["", "first", "last"] = "",
    timeline: timedelta = timedelta(0),
    limit: int = 1000,
    rules: Sequence[str | Path] = (),
    redact: Sequence[str] = (DEFAULT,),
    memory_mib: int = 1024,
    threads: int = 2,
) -> pa.Table:
    """Return what a hunt finds, in columns with the names of fields, as `lanner hunt` does.

    Args:
        condition: in the language of rules.
        source: the folder or s3:// address of an archive, or the folder or file of a recording.
        since: a time, or how long before now.
        until: a time that is not included; None for now.
        host: name or id; None for all hosts.
        group_by: fields by which events are counted.
        fields: fields of the events that are returned.
        count: return only the number of events.
        rare: if above 0: only values of the first of `group_by` with at most so many values of the others, or hosts.
        edge: ``first`` or ``last`` event, of each group if there are groups.
        timeline: count by periods of this length.
        limit: the most rows.
        rules: rule files whose macros and lists the condition uses.
        redact: patterns of secrets to mask, as in the settings; () for none.
        memory_mib: the most memory that queries take.
        threads: the most threads.

    Warns:
        UserWarning: The source has not all events of the time range, or some could not be read.

    Raises:
        BadCondition: The text is not a condition.
        BadInput: The source can't be read, a field is unknown, or the hunt takes too much memory.
    """
    begin = since if isinstance(since, datetime) else datetime.now().astimezone() - since
    events = EventRange(_milliseconds(begin), None if until is None else _milliseconds(until), host)
    result = HuntResult(
        tuple(group_by), tuple(fields), count, rare, edge, int(timeline.total_seconds() * _NANOSECONDS), limit
    )
    found = Hunt(compile_search(condition, read_rule_files(rules)), result, HuntLimits(memory_mib, threads))
    opened = _opened(source)
    table = found.run(opened, events, lambda: False, lambda _: None)
    for text in opened.remarks:
        warnings.warn(text, stacklevel=2)
    return masked(table, Redaction(redact))


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _opened(source: str | Path) -> RowSource:
    if is_archive(Path(source)):
        return ArchiveSource(open_folder(str(source)))
    return StoreSource(RecordingStore(Path(source)))
