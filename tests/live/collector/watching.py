"""Runs a collector inside the test and provides the events of the children that a test starts."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collector.agent import Collector
from collector.settings import CollectorSettings
from foundation.errors import EnvironmentUnsupported
from processor.fields.extract import extract
from processor.fields.process import ancestors
from schemas.batch import EventBatch
from schemas.catalog.fields import resolve_field
from schemas.filter import PushdownFilter
from tests.live.compiled import bytecode
from tests.live.needs import lacking

SETTLE_LOOKS = 6
MOST_SECONDS = 120
INIT = 1
"""Also the parent of what has lost its own."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a batch, accessed by field name."""

    batch: EventBatch
    index: int

    def __getitem__(self, field: str) -> Any:
        """Return a field's value; None where it is missing."""
        found = resolve_field(field)
        assert found is not None, f"no such field: {field}"
        spec, argument = found
        return extract(self.batch, self.index, spec.name, argument)


def events_of(batches: list[EventBatch]) -> Iterator[Event]:
    """Return every event of some batches, in order."""
    return (Event(batch, index) for batch in batches for index in range(batch.count))


class Watching:
    """A running collector and what it has delivered."""

    def __init__(self, collector: Collector, batches: list[EventBatch]) -> None:
        """Take a started collector and the list that it fills."""
        self.collector = collector
        self.batches = batches

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program while the collector works, and wait for its events."""
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        while child.poll() is None:
            self.collector.poll(0.02)
        self.settle()
        out, err = child.communicate()
        if check:
            assert child.returncode == 0, err
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    def run_to_the_end(self, *command: str) -> None:
        """Run a program until its own end is delivered, and with it all its events; requires procexit."""
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        looked_at, has_ended, deadline = 0, False, time.monotonic() + MOST_SECONDS
        while not has_ended:
            assert time.monotonic() < deadline, "the end of the program was not delivered"
            self.collector.poll(0.02)
            fresh, looked_at = self.batches[looked_at:], len(self.batches)
            ends = [event for event in events_of(fresh) if event["evt.type"] == "procexit"]
            has_ended = any(event["proc.pid"] == child.pid for event in ends)
        assert child.wait() == 0

    def python(self, code: str, *arguments: str, **options: Any) -> Any:
        """Run a Python program; return its output, parsed as JSON, or None."""
        out = self.run(sys.executable, "-I", "-c", code, *arguments, **options).stdout
        return json.loads(out) if out.strip() else None

    def settle(self) -> None:
        """Deliver everything that has happened."""
        happened, deadline = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic() + MOST_SECONDS
        # A fixed number of polls, however long each takes on a busy machine.
        for _ in range(SETTLE_LOOKS):
            self.collector.poll(0.05)
        # What waits for its container may take longer.
        while self.collector.emitted_until < happened:
            assert time.monotonic() < deadline, "the collector does not catch up"
            self.collector.poll(0.05)

    def events(self, **fields: object) -> list[Event]:
        """Return the events whose fields have these values; __ in a name stands for a dot."""
        expected = {name.replace("__", "."): value for name, value in fields.items()}
        return [event for event in self.all() if all(event[name] == value for name, value in expected.items())]

    def all(self) -> Iterator[Event]:
        """Return every event so far, in the order of delivery, but those of tests that run beside this one.

        Such a test is in another child of the process that runs all. What containers do is not theirs to the kernel, so
        it is included.
        """
        return (event for event in events_of(self.batches) if not _is_of_another_test(event))

    def one(self, **fields: object) -> Event:
        """Return the only event whose fields have these values."""
        found = self.events(**fields)
        assert len(found) == 1, f"{len(found)} events with {fields}; lost: {self.collector.losses}"
        return found[0]


def _is_of_another_test(event: Event) -> bool:
    batch = event.batch
    process = batch.processes[batch.columns["process"][event.index]]
    pids = {each.pid for each in ancestors(batch.processes, process)}
    return os.getppid() in pids - {INIT} and os.getpid() not in pids | {process.pid}


@contextmanager
def watching(
    *event_types: str,
    pushdown_filter: PushdownFilter | None = None,
    settings: CollectorSettings | None = None,
    cache: Path | None = None,
) -> Iterator[Watching]:
    """Run a collector for these event types; skipped if the machine can't, a failure in CI."""
    batches: list[EventBatch] = []
    chosen = replace(settings or CollectorSettings(), cache=cache or bytecode())
    chosen = replace(chosen, flush_seconds=0.02, repeats_seconds=0.02)
    collector = Collector(event_types, on_batch=batches.append, pushdown_filter=pushdown_filter, settings=chosen)
    try:
        collector.start()
    except EnvironmentUnsupported as missing:
        lacking(f"{missing.reason}: {missing.remedy}")
    running = Watching(collector, batches)
    try:
        yield running
    finally:
        collector.stop()
