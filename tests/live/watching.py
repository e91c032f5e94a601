"""Rules on the running kernel: collector and detector on a thread, alerts as they come."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from collector.agent import Collector
from collector.settings import CollectorSettings
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import load_rules, read_rule_files
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from schemas.alert import Alert
from schemas.batch import EventBatch

RULES = Path(__file__).parents[2] / "rules"
_REPEATS_SECONDS = 0.05
_SETTLE_SECONDS = 60
_SHOWN = 100
"""Alerts in the message of a failure: beside other tests there are thousands."""


class Watch:
    """Watches this machine; use it as a context manager. Events of the test's own process are ignored."""

    def __init__(
        self,
        docker_socket: Path,
        cache: Path,
        *,
        every_rule: bool = False,
        rules: Sequence[Path] = (RULES,),
        unknown_containers: bool = True,
    ) -> None:
        """Compile the rules.

        Args:
            docker_socket: socket of the daemon that knows the containers.
            cache: where the collector caches its bytecode.
            every_rule: include disabled rules.
            rules: files and directories, in load order.
            unknown_containers: whether namespaces alone make a container.
        """
        loaded = load_rules(read_rule_files(rules))
        assert loaded.errors == ()
        chosen = [rule for rule in loaded.rules if every_rule or rule.enabled]
        ruleset = compile_ruleset(chosen, loaded.macros, RulesetOptions(rule_matching="all"))
        self._rules, self._evaluator = ruleset, Evaluator(ruleset)
        settings = CollectorSettings(
            docker_socket=docker_socket,
            cache=cache,
            unknown_containers=unknown_containers,
            repeats_seconds=_REPEATS_SECONDS,
        )
        # As in `lanner run`: these tests must not miss anything that the kernel filters.
        pushdown_filter = derive(ruleset.conditions, ruleset.event_types)
        self._collector = Collector(
            ruleset.event_types, on_batch=self._evaluate, pushdown_filter=pushdown_filter, settings=settings
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._alerts: list[Alert] = []
        self._ours: list[Alert] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Attach to the kernel; raises EnvironmentUnsupported."""
        self._collector.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Detach; raise a failure of the thread in the test."""
        self._stopping.set()
        self._thread.join()
        self._collector.stop()
        if self._failure is not None:
            raise self._failure

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Everything found so far."""
        return tuple(self._alerts)

    @property
    def ours(self) -> tuple[Alert, ...]:
        """What was found of processes that this one started: others may use the machine at the same time."""
        return tuple(self._ours)

    @property
    def events(self) -> int:
        """Events evaluated so far."""
        return self._rules.detector.events

    @property
    def lost(self) -> dict[str, int]:
        """Everything lost so far, by reason."""
        return dict(self._collector.losses)

    @property
    def described(self) -> int:
        """How many look-ups of containers their runtime has answered so far."""
        return self._collector.containers.outcomes["runtime"]

    @property
    def rule_faults(self) -> dict[str, int]:
        """Rules that raised."""
        return dict(self._rules.faults())

    def find(self, matches: Callable[[Alert], bool], timeout: float = 30) -> Alert:
        """Wait for an alert, one that is there already included; raises AssertionError with what came instead."""
        deadline = time.monotonic() + timeout
        while True:
            for alert in self.alerts:
                if matches(alert):
                    return alert
            if time.monotonic() > deadline:
                others = "\n".join(each.output for each in self.alerts[-_SHOWN:])
                raise AssertionError(f"no such alert; lost: {self.lost}; the last of {len(self.alerts)}:\n{others}")
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until all that has happened has been evaluated: counted repeats and what waits for its container too."""
        # Counts are read at intervals, and released once the records before them have been read.
        for seconds in (_REPEATS_SECONDS, 0.0):
            self._evaluate_until(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * 1e9))

    def _evaluate_until(self, happened: int) -> None:
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self._collector.emitted_until < happened:
            assert self._thread.is_alive(), "the collector has failed"
            assert time.monotonic() < deadline, "the collector does not catch up"
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._collector.poll(0.05)
        except BaseException as failure:  # noqa: BLE001 - it is raised again on the test's thread
            self._failure = failure

    def _evaluate(self, batch: EventBatch) -> None:
        found = self._evaluator.process(batch, time.time_ns())
        self._alerts.extend(found)
        me = os.getpid()
        self._ours.extend(alert for alert in found if me in _ancestors(batch, alert))


def _ancestors(batch: EventBatch, alert: Alert) -> set[int]:
    """Return the ids of all that a process comes from, as far up as the batch knows them."""
    above: set[int] = set()
    rows = [row for row, process in enumerate(batch.processes) if process.pid == alert.event.get("proc.pid")]
    for row in rows:
        parent = batch.processes[row].parent
        while parent >= 0:
            above.add(batch.processes[parent].pid)
            parent = batch.processes[parent].parent
    return above
