"""Records what guests did, so that other rules can be evaluated on the same run.

The folder has a recording, as `lanner replay` reads it, and a file that states which guest each test had.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.files import write_atomically
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, MappingReader
from foundation.yaml.nodes import Node, SequenceNode, SourceFile, YamlError
from foundation.yaml.reading import read_documents
from lanner.errors import BadInput
from lanner.prove.atomics import AtomicTest
from lanner.prove.grades import GuestRun, TestResult, graded
from lanner.prove.hosts import GuestBoard
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset
from processor.evaluator import Evaluator
from processor.pushdown.cost import passing
from schemas.batch import EventBatch, subset
from schemas.encoding.batch import BadBatch, encode_batch
from schemas.encoding.recording import RecordingWriter, read_recording
from schemas.filter import PushdownFilter

EVENTS = "events.avro"
TESTS = "tests.json"
_MAX_BYTES = 16 << 20


class RunRecorder:
    """Writes the events of guests, and at the end which guest each test had."""

    def __init__(self, folder: Path) -> None:
        """Create or replace the files. Raises BadInput."""
        self._folder = folder
        self._since = time.time_ns()
        self._numbers = self._sequence = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / TESTS).unlink(missing_ok=True)
            self._writer = RecordingWriter(folder / EVENTS)
        except OSError as error:
            raise BadInput(f"{folder}: {error.strerror}.") from None

    def take(self, batch: EventBatch) -> None:
        """Append a batch's events of process id namespaces that are younger than the recording. Raises BadInput."""
        young = [(each.pidns_init_start_time or 0) > self._since for each in batch.processes]
        rows = batch.columns["process"]
        events = [index for index in range(batch.count) if rows[index] >= 0 and young[rows[index]]]
        if not events and not batch.lost:
            return
        stored = subset(batch, events)
        self._sequence += 1
        stored.sequence, stored.first_number = self._sequence, self._numbers + 1
        self._numbers += stored.count
        try:
            self._writer.write(encode_batch(stored))
        except OSError as error:
            raise BadInput(f"{self._folder}: {error.strerror}.") from None

    def finish(self, boot: int, results: Iterable[TestResult], baselines: Iterable[GuestRun]) -> None:
        """Write which guest each test had. boot: when the machine started, ns since the epoch. Raises BadInput."""
        stated = {
            "boot": boot,
            "baselines": [_stated(run) for run in baselines],
            "tests": [
                {"guid": each.test.guid, "reason": each.reason, "run": each.run and _stated(each.run)}
                for each in results
            ],
        }
        try:
            self._writer.close()
            write_atomically(self._folder / TESTS, [json.dumps(stated, indent=1).encode()])
        except OSError as error:
            raise BadInput(f"{self._folder}: {error.strerror}.") from None


def _stated(run: GuestRun) -> dict[str, Any]:
    return {
        "ticks": run.ticks,
        "since": run.since,
        "entering": sorted(run.entering),
        "booted": run.booted,
        "cgroup": run.cgroup,
    }


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """What some rules found in a run, and at what cost."""

    results: list[TestResult]
    events: int
    """Events of the guests that the kernel would have sent for these rules."""
    seconds: float
    """CPU time of their evaluation, s."""
    of_nothing: frozenset[str]
    """Rules that alerted on a command that does nothing."""


class RecordedRun:
    """A run that was recorded."""

    def __init__(self, folder: Path) -> None:
        """Read which guest each test had. Raises BadInput."""
        self._events = folder / EVENTS
        path = folder / TESTS
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_BYTES).decode()
            # Our JSON is YAML, whose reader names the place of an error.
            stated = MappingReader(next(iter(read_documents(SourceFile(str(path), text)))), "a recorded run")
            self._boot = stated.value(mappings.number, 0, "boot")
            self._baselines = [_run(node, "baselines") for node in _items(stated.get("baselines"))]
            self._runs = dict(map(_test, _items(stated.get("tests"))))
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise BadInput(f"{path}: it isn't UTF-8.") from None
        except StopIteration:
            raise BadInput(f"{path}: it is empty.") from None
        except YamlError as error:
            raise BadInput(f"{error.location}: {error.message}.") from None
        except BadMapping as error:
            raise BadInput(f"{error.node.location}: {error.message}.") from None

    def evaluated(
        self,
        tests: Sequence[AtomicTest],
        rules: CompiledRuleset,
        needs: PushdownFilter,
        repeats: RepeatedAlerts | None = None,
    ) -> EvaluatedRun:
        """Evaluate rules on its events.

        Args:
            tests: the tests; those that it doesn't have are left out.
            rules: without state, with NAMESPACE_START among their alerts' fields.
            needs: what the kernel would send for these rules alone.
            repeats: decides which alerts repeat others; None to return all.

        Raises:
            BadInput: the recording can't be read.
        """
        board = GuestBoard(self._boot)
        runs = [run for run, _ in self._runs.values() if run is not None]
        seen = {run.ticks: board.expect(run) for run in (*self._baselines, *runs)}
        evaluator, events, seconds = Evaluator(rules, repeats), 0, 0.0
        for batch in self._batches(board, needs):
            events += batch.total
            board.count(batch)
            began = time.process_time()
            alerts = evaluator.replay(batch)
            seconds += time.process_time() - began
            for alert in alerts:
                board.take(alert, 0)
        for alert in evaluator.correlator.finish():
            board.take(alert, 0)
        nothing = {run.booted: seen[run.ticks].events for run in self._baselines}

        def result(test: AtomicTest) -> TestResult:
            run, reason = self._runs[test.guid]
            if run is None:
                return TestResult(test, "not run", reason)
            of_guest = seen[run.ticks]
            return graded(test, reason, of_guest, nothing.get(run.booted, 0))

        results = [result(test) for test in tests if test.guid in self._runs]
        of_nothing = {alert.rule for run in self._baselines for alert in seen[run.ticks].alerts}
        return EvaluatedRun(results, events, seconds, frozenset(of_nothing))

    def _batches(self, board: GuestBoard, needs: PushdownFilter) -> Iterator[EventBatch]:
        try:
            own = self._starts(board)
            for batch in read_recording(self._events):
                is_own = [process.pidns_init_start_time in own for process in batch.processes]
                rows = batch.columns["process"]
                mine = subset(
                    batch, [index for index in range(batch.count) if rows[index] >= 0 and is_own[rows[index]]]
                )
                if chosen := passing(mine, needs):
                    yield subset(mine, chosen)
        except OSError as error:
            raise BadInput(f"{self._events}: {error.strerror}.") from None
        except BadBatch as error:
            raise BadInput(f"{error}.") from None

    def _starts(self, board: GuestBoard) -> frozenset[int]:
        """Return when the guests' first processes started, ns since the epoch.

        Others' containers may have been recorded, too, and one may have started in the same clock tick: only a guest
        has been entered by this run.
        """
        found: set[int] = set()
        for batch in read_recording(self._events):
            for process in batch.processes:
                start = process.pidns_init_start_time
                if start is None or start in found or (run := board.run_of(start)) is None:
                    continue
                parent = batch.processes[process.parent].pid if process.parent >= 0 else None
                if process.pid in run.entering or parent in run.entering:
                    found.add(start)
        return frozenset(found)


def _items(node: Node | None) -> Sequence[Node]:
    return node.items if isinstance(node, SequenceNode) else ()


def _test(node: Node) -> tuple[str, tuple[GuestRun | None, str]]:
    table = MappingReader(node, "a test")
    guid = table.value(mappings.text, "", "guid")
    return guid, (table.value(_run, None, "run"), table.value(mappings.text, "", "reason"))


def _run(node: Node, _key: str) -> GuestRun:
    table = MappingReader(node, "the guest of a test")
    return GuestRun(
        ticks=table.value(mappings.number, 0, "ticks"),
        since=table.value(mappings.number, 0, "since"),
        entering=frozenset(mappings.number(each, "entering") for each in _items(table.get("entering"))),
        booted=table.value(mappings.truth, False, "booted"),
        cgroup=table.value(mappings.text, "", "cgroup"),
    )
