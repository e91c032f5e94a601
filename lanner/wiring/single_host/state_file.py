"""The memory of one process's rules: windows and repeats, kept in a file over a restart."""

import os
from collections.abc import Callable
from pathlib import Path

from lanner.wiring.single_host.wall_clock import WallClock
from processor.correlation.correlator import Correlator
from processor.correlation.state.entry import BadState
from processor.detection.repeats import RepeatedAlerts
from processor.evaluator import CompiledRuleset, Evaluator
from processor.hosts.clock_skew import dated
from schemas.alert import Alert
from schemas.batch import EventBatch

SAVE_SECONDS = 5.0


class StatefulEvaluator:
    """Judges events one after the other, and remembers."""

    def __init__(
        self,
        judges: CompiledRuleset,
        path: Path | None,
        *,
        note: Callable[[str], None],
        clock: WallClock | None = None,
        repeats: RepeatedAlerts | None = None,
    ) -> None:
        """Take up what the file holds; one that can't be used is reported, and nothing is remembered.

        Args:
            judges: the rules, compiled.
            path: the file; None to keep nothing.
            note: told of what an operator should know.
            clock: when batches arrive; by default this machine's.
            repeats: decides which alerts repeat others; None to return all.
        """
        self.redated = 0
        """Events whose times were so far from the clock that they were set to the nearest that can be."""
        self._judge = Evaluator(judges, repeats)
        self._path = path
        self._note = note
        self._clock = clock or WallClock()
        self._saved_at = 0.0
        self._is_failing = False
        self._evicted = 0
        if path is not None:
            self._take_up(path)

    def process(self, batch: EventBatch) -> list[Alert]:
        """Judge a batch that has just arrived."""
        now = self._now()
        batch, redated = dated(batch, now, 0)
        self.redated += redated
        return self._judge.process(batch, now)

    def tick(self, monotonic: float) -> list[Alert]:
        """End what is over and, every few seconds, write the file. monotonic: s."""
        found = self._judge.correlator.tick(self._now())
        if monotonic - self._saved_at >= SAVE_SECONDS:
            self._saved_at = monotonic
            self.save()
        return found

    def end(self) -> list[Alert]:
        """Write the file; where there is none to remember what is still being counted, return it as summaries."""
        if self._path is None:
            return self._judge.correlator.finish()
        self.save()
        return []

    @property
    def repeats(self) -> RepeatedAlerts:
        """Which alerts repeat others."""
        return self._judge.repeats

    @property
    def correlator(self) -> Correlator:
        """What windows decide."""
        return self._judge.correlator

    def change_rules(self, judges: CompiledRuleset) -> None:
        """Go on with other rules; unchanged stateful macros keep their windows."""
        self._judge.change_rules(judges)

    def take_evicted(self) -> int:
        """Give how many groups were forgotten for want of room since the last call."""
        total = self._judge.correlator.evicted.total()
        fresh, self._evicted = total - self._evicted, total
        return fresh

    def save(self) -> None:
        """Write the file, as a whole or not at all; a failure is told once."""
        if self._path is None or not (self._judge.judges.plan.rules or self._judge.correlator.groups):
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
                file.write(self._judge.correlator.snapshot())
            new.replace(self._path)
        except OSError as error:
            if not self._is_failing:
                self._note(f"{self._path}: can't be written: {error.strerror}; a restart forgets windows and repeats.")
            self._is_failing = True
        else:
            self._is_failing = False

    def _now(self) -> int:
        now, step = self._clock.read()
        if step:
            self._judge.correlator.shift(step)
            direction = "forward" if step > 0 else "back"
            self._note(
                f"the clock was set {abs(step) / 1e9:,.0f} s {direction}: windows and repeats moved along with it."
            )
        return now

    def _take_up(self, path: Path) -> None:
        try:
            self._judge.correlator.restore(path.read_bytes(), self._now())
        except FileNotFoundError:
            return
        except OSError as error:
            self._note(f"{path}: can't be read: {error.strerror}; rules with memory begin anew.")
        except BadState as error:
            self._note(f"{path}: {error}; rules with memory begin anew.")
