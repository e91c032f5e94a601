"""The window state of `lanner run`: windows and repeats, stored in a file across restarts."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from foundation.files import write_atomically
from foundation.text import OnNote
from lanner.known_state.files import SessionsFile, ValuesFile, take_resets
from lanner.known_state.tables import Learner, learning_macros
from lanner.recorder.store import StoredBatch
from processor.correlation.groups import BadState
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset
from processor.evaluator import Evaluator
from processor.fields.json.documents import Document
from processor.hosts.arrival import dated
from processor.output.internal_alerts import GROUPS_EVICTED
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch

_SLACK = 1_000_000_000
"""ns; smaller steps are slewing, which does not matter for windows."""


def _since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class WallClock:
    """Compares the wall clock with the time since boot, which cannot be set."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, since_boot: Callable[[], int] = _since_boot) -> None:
        """Begin. wall: ns since the epoch; since_boot: ns; continues during suspend."""
        self._wall = wall
        self._since_boot = since_boot
        self._boot = wall() - since_boot()

    def read(self) -> tuple[int, int]:
        """Return the time, ns since the epoch, and by how much the clock was set since the last call, ns; mostly 0."""
        now = self._wall()
        boot = now - self._since_boot()
        step = boot - self._boot
        if abs(step) <= _SLACK:
            return now, 0
        self._boot = boot
        return now, step


SAVE_SECONDS = 5.0


class StatefulEvaluator:
    """Evaluates batches one after the other, and stores window state in a file."""

    def __init__(
        self,
        rules: CompiledRuleset,
        path: Path | None,
        *,
        note: OnNote,
        clock: WallClock | None = None,
        repeats: RepeatedAlerts | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """Read the state file; an unusable one is reported, and the state begins empty.

        Args:
            rules: the active rules.
            path: the state file; None to store nothing.
            note: receives messages for an operator.
            clock: the time at which batches arrive; by default this machine's.
            repeats: decides which alerts repeat others; None to return all.
            sessions: names people in alerts; None to name nobody.
        """
        self.redated = 0
        """Events whose times were so far from the clock that they were set to the nearest allowed time."""
        self._evaluator = Evaluator(rules, repeats, sessions)
        self.repeats = self._evaluator.repeats
        """Decides which alerts repeat others."""
        self.correlator = self._evaluator.correlator
        """Evaluates windows."""
        self.add_observer = self._evaluator.add_observer
        self.change_rules = self._evaluator.change_rules
        self._path = path
        self._values = None if path is None else ValuesFile(path)
        self._sessions = None if path is None or sessions is None else SessionsFile(path, sessions)
        self._note = note
        self._clock = clock or WallClock()
        self._saved_at = 0.0
        self._is_failing = False
        self._left: list[Alert] = []
        """Alerts that the process before did not report before it died."""
        self._learner: Learner | None = None
        self._past: Iterator[StoredBatch] = iter(())
        if path is not None:
            self._load(path)

    def begin_learning(self, past: Callable[[], Iterator[StoredBatch]]) -> None:
        """Begin to teach macros of type first_seen that know nothing from recorded batches, in the steps of `learn`.

        Args:
            past: returns the batches, oldest first.
        """
        plan, known = self._evaluator.rules.plan, {owner for owner, _ in self.correlator.sightings.all_groups()}
        fresh = {macro.fingerprint for macro in learning_macros(plan)} - known
        self._learner = Learner(plan, fresh) if fresh else None
        self._past = past() if fresh else iter(())

    @property
    def is_learning(self) -> bool:
        """True if recorded batches are left to learn from."""
        return self._learner is not None

    def learn(self, seconds: float) -> None:
        """Learn from recorded batches for so long, and use what was learned when it is complete."""
        until = time.monotonic() + seconds
        while self._learner is not None and time.monotonic() < until:
            stored = next(self._past, None)
            if stored is not None:
                batch, _ = dated(stored.batch, stored.batch.created, 0)
                self._learner.take(replace(stored, batch=batch))
                continue
            self.correlator.process(self._learner.commands(), self._now())
            self._learner = None

    def process(self, events: EventBatch | Document) -> list[Alert]:
        """Evaluate a batch or document that has just arrived, and report its losses and the rules that raised."""
        now = self._now()
        if isinstance(events, Document):
            return self._evaluator.process(events, now)
        batch, redated = dated(events, now, 0)
        self.redated += redated
        return [*self._evaluator.process(batch, now), *self._evaluator.report(batch, now)]

    def advance_to(self, monotonic: float) -> list[Alert]:
        """Close the periods that are over and, every few seconds, write the file. monotonic: s."""
        found, self._left = [*self._left, *self._evaluator.advance_to(self._now())], []
        if monotonic - self._saved_at >= SAVE_SECONDS:
            self._saved_at = monotonic
            self.save()
        return found

    def flush(self) -> list[Alert]:
        """Return what must be reported before the end, and write the file: losses, and counts of repeats.

        With a file, the periods of repeats go on after a restart.
        """
        repeats = self.correlator.flush_repeats()
        found, self._left = [*self._left, *self.correlator.flush_notices(), *repeats], []
        self.save()
        return found

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of lost events by reason, and of evicted groups."""
        evicted = self.correlator.state.evicted
        return self._evaluator.lost + Counter({GROUPS_EVICTED: evicted})

    def save(self) -> None:
        """Write the file atomically; a failure is reported once."""
        if self._path is None:
            return
        try:
            if self._sessions is not None:
                self._sessions.save()
            if not (self._evaluator.rules.plan.rules or self.correlator.state.needs_time):
                return
            if resets := take_resets(self._path):
                self.correlator.process(resets, self._now())
            write_atomically(self._path, [self.correlator.snapshot()])
            if self._values is not None:
                self._values.save(self.correlator.state)
        except OSError as error:
            if not self._is_failing:
                self._note(
                    f"{self._path}: cannot be written: {error.strerror}; windows and repeats will be lost at a restart."
                )
            self._is_failing = True
        else:
            self._is_failing = False

    def _now(self) -> int:
        now, step = self._clock.read()
        if step:
            self.correlator.shift(step)
            direction = "forward" if step > 0 else "back"
            self._note(
                f"the clock was set {direction} by {abs(step) / 1e9:,.0f} s: windows and repeats were moved too."
            )
        return now

    def _load(self, path: Path) -> None:
        try:
            if self._sessions is not None:
                self._sessions.load()
        except OSError as error:
            self._note(f"{path}.sessions: cannot be read: {error.strerror}; alerts name nobody who came before.")
        try:
            if self._values is not None:
                self._values.load(self.correlator.state)
        except OSError as error:
            self._note(f"{path}.values: cannot be read: {error.strerror}; macros of type first_seen learn again.")
        except BadState as error:
            self._note(f"{path}.values: {error}; macros of type first_seen learn again.")
        try:
            self.correlator.restore(path.read_bytes(), self._now())
            # A new process reports its first losses at once.
            self._left = self.correlator.flush_notices()
        except FileNotFoundError:
            self.correlator.repair(self._now())
        except OSError as error:
            self._note(f"{path}: cannot be read: {error.strerror}; windows and repeats start empty.")
            self.correlator.repair(self._now())
        except BadState as error:
            self._note(f"{path}: {error}; windows and repeats start empty.")
            self.correlator.repair(self._now())
