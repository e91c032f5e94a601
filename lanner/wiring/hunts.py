"""The hunts of a console: where they read, and the process that runs one."""

import json
import os
import pickle
import resource
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import LannerError
from foundation.interpreter import child_command
from foundation.quantities import UNITS
from lanner.console.hunts import HuntRequest, HuntSource
from lanner.errors import BadInput
from lanner.libraries import has_module, remedy
from lanner.recorder.search import BadCondition, SearchCondition, SearchProblem, compile_search
from lanner.recorder.store import is_archive
from lanner.settings import Settings
from lanner.wiring.rules import find_rules
from lanner.wiring.stores import row_source
from processor.output.redaction import Redaction

if TYPE_CHECKING:
    import pyarrow as pa

    from lanner.hunting.sources import RowSource

ARCHIVE, RECORDING, TOPIC = "archive", "recording", "topic"
_LIBRARIES = ("duckdb", "sqlglot", "pyarrow")
_SPOOL_BYTES = 4 << 30
"""The most that the events of a SQL text may take on disk, while they are converted."""
_BESIDE_QUERIES = 1 << 30
"""Memory of a hunt's process beside that of its queries: libraries, rules, and the events that are read."""
_SHOW_SECONDS = 0.5
_LOOK_SECONDS = 0.25
_OUT_OF_MEMORY_FIRST = "1000"


@dataclass(frozen=True, slots=True)
class _Order:
    """What the process of a hunt is to do."""

    settings: Settings
    request: HuntRequest
    place: Path | None
    """An archive or a recording; None for the topics."""
    folder: Path


def hunt_source(settings: Settings, recording: Path | None = None, *, has_topics: bool = False) -> HuntSource:
    """Return where a console can hunt: in the archive that its settings name, in a recording, and in the topics."""
    places: dict[str, Path | None] = {}
    described: dict[str, str] = {}
    archive = settings.console.archive or settings.archive.folder
    if settings.console.archive or _is_readable_archive(Path(archive)):
        places[ARCHIVE], described[ARCHIVE] = Path(archive), f"the archive in {archive}"
    if has_topics:
        places[TOPIC], described[TOPIC] = None, "the events that the broker retains"
    if recording is not None:
        places[RECORDING], described[RECORDING] = recording, f"the recording in {recording}"
    return HuntSource(
        described,
        partial(_child, settings, places),
        settings.console.hunt_seconds,
        "" if has_module(*_LIBRARIES) else f"Hunts need libraries that are not installed: {remedy('archive')}",
        lambda: find_rules(settings).files,
    )


def _is_readable_archive(folder: Path) -> bool:
    try:
        return is_archive(folder)
    except OSError:
        return False


def _child(
    settings: Settings, places: Mapping[str, Path | None], request: HuntRequest, folder: Path
) -> tuple[list[str], bytes]:
    # The text of a hunt is no argument, because other users of the host can read those.
    order = _Order(settings, request, places[request.place], folder)
    return child_command(main, "", has_libraries=True), pickle.dumps(order)


def main(_: list[str]) -> None:
    """Run the hunt that standard input describes, until it is closed; write messages as lines of JSON."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        # What libraries print is no message.
        os.dup2(2, 1)
        write = partial(_write, output)
        order: _Order = pickle.load(sys.stdin.buffer)  # noqa: S301  the console wrote it
        _limit()
        try:
            write("result", _found(order, _Ending(order), write))
        except BadCondition as error:
            write("failed", {"error": str(error), "problems": [asdict(each) for each in error.problems]})
        except (LannerError, OSError, MemoryError) as error:
            write("failed", {"error": _message(error), "problems": []})
        except Exception:  # noqa: BLE001  the console logs it
            write("bug", {"text": traceback.format_exc()})


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "the hunt needs more memory than it may take: take a shorter time, or group by fields with fewer values"
    return str(error).removeprefix("--sql: ")


def _write(output: Any, kind: str, value: Mapping[str, Any]) -> None:
    output.write(json.dumps({"kind": kind, **value}) + "\n")
    output.flush()


def _limit() -> None:
    """Limit the memory and the priority of this process."""
    # If memory runs out, this process is ended, and not the console.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_FIRST, encoding="ascii")
    # The filter of a service's system calls may refuse these; then the service's own limits hold.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(10)


def _resident_bytes() -> int:
    """Return how much memory this process has, which its libraries allocate in ways of their own."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()


class _Ending:
    """Whether a hunt has to end, and why."""

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._until = time.monotonic() + order.settings.console.hunt_seconds
        self._is_closed = threading.Event()
        self._looked_at = 0.0
        self.reason = ""
        """``stopped`` by the person, ``time`` or ``disk``; empty while it may go on."""
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        most = (self._order.settings.console.hunt_memory_mib << 20) + _BESIDE_QUERIES
        while True:
            if select.select([0], [], [], _LOOK_SECONDS)[0] and not os.read(0, 4096):
                self._is_closed.set()
                return
            if _resident_bytes() > most:
                # Its libraries don't know of this limit. The console reports that it has ended.
                os._exit(1)

    def __call__(self) -> bool:
        """Return whether to end."""
        now = time.monotonic()
        if not self.reason:
            if self._is_closed.is_set():
                self.reason = "stopped"
            elif now >= self._until:
                self.reason = "time"
            elif now >= self._looked_at + 1:
                self._looked_at = now
                used = sum(each.stat().st_size for each in self._order.folder.iterdir())
                self.reason = "disk" if used > _SPOOL_BYTES else ""
        return bool(self.reason)


def _found(order: _Order, ending: _Ending, write: Callable[[str, Mapping[str, Any]], None]) -> dict[str, Any]:
    from lanner.hunting.answer import answer_table, narrowing
    from lanner.hunting.results import masked

    began = time.monotonic()
    notes: list[str] = []
    source = row_source(order.settings, order.place, lambda text, *_: notes.append(text))
    redaction = Redaction(order.settings.redact)
    run = _run_sql if order.request.is_sql else _run_condition
    table, more = run(order, source, redaction, ending, write)
    table = masked(table, redaction)
    answer = answer_table(table)
    return {
        "columns": answer.columns,
        "rows": answer.rows,
        "narrowing": narrowing(order.request.text, table, order.request.group_by),
        "is_cut": answer.is_cut,
        "is_full": table.num_rows >= order.request.limit,
        "end": ending.reason or "complete",
        "seconds": round(time.monotonic() - began, 1),
        "histogram": None,
        "warnings": [],
        **more,
        "remarks": [*notes, *source.remarks, *more.get("remarks", ())],
    }


def _run_condition(
    order: _Order, source: "RowSource", _: Redaction, ending: _Ending, write: Callable[[str, Mapping[str, Any]], None]
) -> "tuple[pa.Table, dict[str, Any]]":
    from lanner.hunting.answer import MAX_PERIODS, histogram, period_ms
    from lanner.hunting.hunt import Hunt, HuntLimits
    from lanner.hunting.results import HuntResult

    request = order.request
    condition = _compiled(order)
    rows = HuntResult(
        request.group_by, request.fields, rare=request.rare, limit=request.limit, rarest_first=request.rarest_first
    )
    hunt = Hunt(condition, rows, HuntLimits(order.settings.console.hunt_memory_mib))
    period = period_ms(request.events, is_recording=request.place == RECORDING)
    hunt.results.append(HuntResult(timeline=period * UNITS["ms"], limit=MAX_PERIODS))
    shown_at = 0.0

    def show(share: float) -> None:
        nonlocal shown_at
        if time.monotonic() >= shown_at + _SHOW_SECONDS:
            shown_at = time.monotonic()
            write("progress", {"share": round(share, 4), "found": hunt.found})

    table, times = hunt.tables(source, request.events, ending, show)
    counted = zip(times["time"].cast("int64").to_pylist(), times["events"].to_pylist(), strict=True)
    bars = histogram(counted, period, request.events)
    remarks = [f"{hunt.faults:,} events could not be evaluated."] if hunt.faults else []
    if times.num_rows == MAX_PERIODS:
        remarks.append("The newest events are not in the histogram: choose a shorter time.")
    return table, {
        "histogram": None if bars is None else asdict(bars),
        "total": 0 if bars is None else bars.total,
        "warnings": [asdict(each) for each in condition.warnings],
        "remarks": remarks,
    }


def _compiled(order: _Order) -> SearchCondition:
    try:
        files = find_rules(order.settings).files
    except BadInput as error:
        compiled = compile_search(order.request.text, ())
        warning = SearchProblem(f"macros and lists of rules are unknown: {error}")
        return SearchCondition(compiled.compiled, compiled.node, (warning, *compiled.warnings))
    return compile_search(order.request.text, files)


def _run_sql(
    order: _Order,
    source: "RowSource",
    redaction: Redaction,
    ending: _Ending,
    write: Callable[[str, Mapping[str, Any]], None],
) -> "tuple[pa.Table, dict[str, Any]]":
    from lanner.hunting.hunt import HuntLimits
    from lanner.hunting.sql import SqlHunt, checked

    query = checked(order.request.text)
    events, limits = order.request.events, HuntLimits(order.settings.console.hunt_memory_mib)
    write("progress", {"share": 0, "found": 0})
    hunt = SqlHunt(*source.datasets(events, ending, order.folder), events, limits, redaction)
    try:
        return hunt.run(query, order.request.limit, ending), {}
    except BadInput:
        if ending.reason == "time":
            raise BadInput(
                f"the query took more than {order.settings.console.hunt_seconds} s: take a shorter time, or fewer rows."
            ) from None
        if ending.reason == "disk":
            raise BadInput("the events of this time take too much space: take a shorter time.") from None
        raise
    finally:
        hunt.close()
