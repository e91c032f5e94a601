"""Evaluate windows over pre-matched events and make alerts; repeats are reported once.

Pure: all times are passed in. `lanner run`, replay, rule tests and the fleet's processor use it.

There are two times. Event time, which the host claims and which is capped at the append time, decides what is in a
window. Append time, from the broker, is the clock by which windows expire and repeats end. In replay there is no
broker, so event time is the clock as well.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from processor.correlation.first_seen import Sightings
from processor.correlation.first_seen_group import HostCount, sighting_of
from processor.correlation.groups import GroupState, Key, Store, host_counted
from processor.correlation.state import SnapshotEncoder, WindowState
from processor.correlation.suppress import (
    OTHER,
    SuppressResult,
    Tally,
    Throttle,
    add_repeats,
    close,
    is_tally_due,
    report_so_far,
    report_tally,
    take_match,
    take_notice,
)
from processor.correlation.terms import (
    IndexedPlan,
    Truths,
    holds,
    relayed,
    repeat_fields,
    stateful_alert,
    unmet_repeats,
)
from processor.correlation.windows import ALLOWED_LATENESS, SHOWN_VALUES, Fired, UpdateOutcome, update_window
from processor.matching.pre_match import QUIET, Candidate, Feed, Notice, PreMatch, RepeatedAlert, parts_of
from processor.matching.shares import bringer_text
from processor.splitting import Plan, StatefulMacro, StatefulRule, Term
from schemas.alert import Alert, Value, bounded
from schemas.distinct_values import masked

GRACE_PERIOD = 5_000_000_000
"""How long after the end of a period its last events may still arrive before the period is closed, ns."""
REPORTED_RETENTION = 600_000_000_000
"""How long reported repeats are remembered, so that redelivery raises no second alert, ns."""
MAX_GROUPS = 100_000
CLOCK_SLACK = 60_000_000_000
"""By how much brokers' clocks may differ, ns. A larger step back means that the clock was set: state moves with it."""
REPEATED_ALERTS = "repeated alerts"
"""Owner of counts of alerts that detection counted instead of sending them."""
_MOST_UNSTORED = 1_000
"""The maximum number of hosts and bringers in one report about values that could not be stored."""


class Correlator:
    """Evaluates stateful rules and stores their window state.

    All methods are idempotent: an event that was applied before changes nothing.
    """

    def __init__(self, plan: Plan, *, max_groups: int = MAX_GROUPS) -> None:
        """Begin with no window state. max_groups: the maximum number of windows and counts of repeats."""
        self._rules = IndexedPlan.of(plan)
        self._now = 0
        """The clock: the append time of the message that was applied last, or in replay the newest event time, ns."""
        self.store = Store(max_groups, self._deadline)
        """The windows and counts of repeats, with their changes and evictions."""
        self.sightings = Sightings(self._rules.spans, group_maximum=plan.max_group_values)
        self.state = WindowState(self.store, self.sightings)
        self._snapshots = SnapshotEncoder()
        self._relayed: list[PreMatch] = []
        self.counts: Counter[str] = Counter()
        """Events that a window rejected, by reason (late, stale), duplicate matches, and terms of unknown rules."""
        self.alerts: Counter[str] = Counter()
        """Alerts by rule, without summaries."""
        self.suppressed: Counter[str] = Counter()
        """Matches by rule that were counted instead of sent."""
        self.observe: Callable[[PreMatch, Truths], None] | None = None
        """Called with each event that windows took, and what became of it; for rule tests."""

    @property
    def macros(self) -> tuple[str, ...]:
        """The fingerprints of stateful macros, each after those that it refers to."""
        return tuple(self._rules.timespans)

    def process(self, pre_matches: Iterable[PreMatch], now: int | None = None) -> list[Alert]:
        """Apply events in the given order.

        now: append time of their message, ns since the epoch; periods that ended before are closed first. None if
        events are the clock.
        """
        found: list[Alert] = [] if now is None else self.tick(now)
        for pre_match in pre_matches:
            if now is None:
                self._now = max(self._now, pre_match.time)
            self.apply(pre_match, found)
            while self._relayed:
                self.apply(self._relayed.pop(0), found)
        return found

    def take_relayed(self) -> list[PreMatch]:
        """Return the events to apply for other groups since the last call, because rules of their groups match them."""
        found, self._relayed = self._relayed, []
        return found

    def tick(self, now: int) -> list[Alert]:
        """Close the periods that are over, and drop state that no event can need.

        now: append time of the newest message, or in replay the newest event time, ns since the epoch.
        """
        if self._now - now > CLOCK_SLACK:
            self.shift(now - self._now)
        self._now = max(self._now, now)
        found: list[Alert] = []
        self.sightings.sweep(self._now)
        for entry in self.store.due(self._now):
            if isinstance(entry.state, Throttle) and entry.state.is_open:
                try:
                    self._close(entry, entry.state, found)
                except Exception:  # noqa: BLE001  one unreadable alert must not block the other summaries
                    self.store.drop((entry.owner, entry.group))
            elif isinstance(entry.state, Tally) and is_tally_due(entry.state):
                self._report(entry, entry.state, found)
            else:
                self.store.remove((entry.owner, entry.group))
        return found

    def flush_notices(self) -> list[Alert]:
        """Return the internal alerts that are summed but not yet due, and drop the sums; windows and repeats remain."""
        found: list[Alert] = []
        for entry in list(self.store):
            if isinstance(entry.state, Tally):
                found += report_tally(entry.owner, entry.state)[1]
                self.store.remove((entry.owner, entry.group))
        return found

    def flush_repeats(self) -> list[Alert]:
        """Return the repeats counted so far as summaries; their periods go on."""
        found: list[Alert] = []
        for entry in list(self.store):
            if isinstance(entry.state, Throttle):
                state, alerts = report_so_far(entry.state)
                found += alerts
                if alerts:
                    self.store.put(replace(entry, state=state))
        return found

    def finish(self) -> list[Alert]:
        """Close all periods: there are no more events."""
        found: list[Alert] = []
        for entry in list(self.store):
            if isinstance(entry.state, Throttle) and entry.state.is_open:
                self._close(entry, entry.state, found)
            elif isinstance(entry.state, Tally):
                self._report(entry, entry.state, found)
        return found

    def shift(self, step: int) -> None:
        """Move all state by the step of a clock that was set. step: ns; negative if it was set back."""
        self._now += step
        self.state.shift(step)

    def repair(self, now: int) -> int:
        """Set state with times in the future, from a wrong clock, to the present; return the number of groups repaired.

        now: append time of a message newer than all state, ns since the epoch.
        """
        return self.state.repair(now + CLOCK_SLACK, now)

    def change_rules(self, plan: Plan, *, is_settled: bool = True) -> None:
        """Evaluate other rules from now on; unchanged macros keep their windows, and repeats their counts.

        is_settled: no other rules are active elsewhere, so windows of unknown macros are dropped.
        """
        self._rules = IndexedPlan.of(plan)
        self.sightings.change_rules(self._rules.spans, plan.max_group_values)
        if is_settled:
            self.forget_unknown()

    def forget_unknown(self) -> None:
        """Drop the state of macros that are not in the rules."""
        self.state.forget_unknown(self._rules.timespans.keys())

    def snapshot(self) -> bytes:
        """Encode windows and counts; entries that have not changed since the last snapshot are not encoded again."""
        return self._snapshots.encode(self.store, self._now)

    def restore(self, data: bytes, now: int | None = None) -> None:
        """Replace windows and counts by a snapshot; windows of unknown macros are dropped.

        Args:
            data: returned by snapshot().
            now: the clock, ns since the epoch; if the snapshot is newer, its times are moved back. None to leave them.

        Raises:
            BadState: the bytes are not a snapshot of this version; nothing is changed.
        """
        self._now = written = self.state.restore(data)
        self.forget_unknown()
        if now is not None:
            if written > now:
                self.shift(now - written)
            self.repair(now)
        self.store.take_changes()

    def _deadline(self, entry: GroupState) -> int:
        state = entry.state
        if isinstance(state, Throttle):
            if state.is_open:
                return entry.touched + state.period + GRACE_PERIOD
            return entry.touched + REPORTED_RETENTION
        if isinstance(state, Tally):
            return entry.touched + QUIET
        timespan = self._rules.timespans.get(entry.owner)
        if timespan is None:
            # Retained until it is known whether any rules use it.
            return max(self._now, entry.touched) + ALLOWED_LATENESS
        return entry.touched + timespan + ALLOWED_LATENESS

    def apply(self, pre_match: PreMatch, found: list[Alert]) -> None:
        """Apply an event and those before it in its message.

        Alerts are added to found one by one, so that a fault loses none of them.
        """
        for earlier in pre_match.earlier:
            self.apply(earlier, found)
        # No batch is older than its events, so a host whose clock is ahead can't outrun others in a window.
        limit = pre_match.appended or self._now
        if pre_match.time > limit:
            pre_match = replace(pre_match, time=limit)
        if pre_match.command is not None:
            self.state.obey(pre_match.command, pre_match, self._now)
        if pre_match.notice is not None:
            self._take_notice(pre_match, pre_match.notice, found)
        if pre_match.repeated is not None:
            self._take_repeated(pre_match, pre_match.repeated, found)
        truths = self._feed(pre_match, found) if pre_match.feeds else {}
        if self.observe is not None:
            self.observe(pre_match, truths)
        if pre_match.relays:
            self._relayed += relayed(pre_match, truths, self._rules.gates)
        evaluated: set[str] = set()
        for candidate in pre_match.candidates:
            known = self._rules.terms.get(candidate.term)
            if known is None:
                self.counts["unknown_term"] += 1
                continue
            rule, term = known
            if rule.name not in evaluated and holds(term, truths):
                evaluated.add(rule.name)
                needed = [name for name in rule.macros if name in term.needs]
                # Without a needed one, no window is that of the alert.
                order = dict.fromkeys((*needed, *rule.macros)) if needed else ()
                windows = {name: fired for name in order if isinstance(fired := truths.get(name), Fired)}
                self._match(pre_match, candidate, rule, windows, found)

    def _feed(self, pre_match: PreMatch, found: list[Alert]) -> Truths:
        by_macro: dict[int, list[tuple[int, Term, Feed]]] = {}
        for feed in pre_match.feeds:
            known = self._rules.legs.get(feed.term)
            if known is None:
                self.counts["unknown_term"] += 1
            else:
                index, leg, term = known
                by_macro.setdefault(index, []).append((leg, term, feed))
        truths: Truths = {}
        # Macros are ordered by dependency.
        for index in sorted(by_macro):
            held = [(leg, term, feed) for leg, term, feed in by_macro[index] if holds(term, truths)]
            if held:
                macro = self._rules.macros[index]
                holding = {leg: feed for leg, _, feed in held}
                unmet = 0 if pre_match.weight == 1 else min(unmet_repeats(term, truths) for _, term, _ in held)
                if macro.correlation.kind.remembers_values:
                    truths[macro.fingerprint] = self._look_up(pre_match, macro, holding[0])
                else:
                    truths[macro.fingerprint] = self._update(pre_match, macro, holding, unmet, found)
        return truths

    def _update(
        self, pre_match: PreMatch, macro: StatefulMacro, holding: Mapping[int, Feed], unmet: int, found: list[Alert]
    ) -> Fired | UpdateOutcome | None:
        entry = self.store.get((macro.fingerprint, pre_match.group))
        reached = replace(pre_match, weight=pre_match.weight - unmet) if unmet else pre_match
        state, fired, outcome = update_window(macro, None if entry is None else entry.state, reached, holding)
        if outcome is UpdateOutcome.TAKEN:
            host = host_counted(pre_match, entry)
            self._put(GroupState(macro.fingerprint, pre_match.group, host, self._now, state), found)
            return replace(fired, unmet=fired.unmet + unmet) if fired is not None and unmet else fired
        self.counts[outcome.value] += 1
        return outcome

    def _look_up(self, pre_match: PreMatch, macro: StatefulMacro, feed: Feed) -> Fired | UpdateOutcome | None:
        sighting = sighting_of(pre_match, macro.fingerprint, feed, self._now)
        counts_hosts = macro.correlation.kind.counts_hosts
        answer = self.sightings.count_hosts(sighting) if counts_hosts else self.sightings.see(sighting)
        if isinstance(answer, UpdateOutcome):
            self.counts[answer.value] += 1
            if answer is UpdateOutcome.FULL:
                whose = bringer_text(feed.stored) if len(self.state.unstored) < _MOST_UNSTORED else OTHER
                self.state.unstored[pre_match.origin.host_id, pre_match.hostname, f"{macro.name} by {whose}"] += 1
            return answer
        if isinstance(answer, HostCount):
            is_rare = answer.hosts < macro.correlation.threshold
            ids = answer.ids[:SHOWN_VALUES]
            return Fired(answer.hosts, answer.since, pre_match.time, ids, hosts=answer.hosts) if is_rare else None
        if not answer:
            return None
        values = parts_of(sighting.value, len(macro.correlation.fields))
        return Fired(1, pre_match.time, pre_match.time, values, unmet=pre_match.weight - 1)

    def _match(
        self,
        pre_match: PreMatch,
        candidate: Candidate,
        rule: StatefulRule,
        windows: Mapping[str, Fired],
        found: list[Alert],
    ) -> None:
        key = (rule.fingerprint, candidate.by)
        throttle = self._throttle(key)
        if candidate.content is None and (throttle is None or not throttle.counts(pre_match.time)):
            self.counts["without_content"] += pre_match.weight
            return

        def make_alert() -> Alert:
            tokens = self._rules.tokens[rule.output]
            named = {self._rules.names[fingerprint]: fired for fingerprint, fired in windows.items()}
            return self._rules.redact(bounded(stateful_alert(pre_match, candidate, rule, named, tokens)))

        def fields() -> Mapping[str, Value]:
            return masked(repeat_fields(pre_match, candidate, self._rules), self._rules.redact)

        weight = pre_match.weight - next((fired.unmet for fired in windows.values()), 0)
        stamp, period = pre_match.match_stamp, rule.suppress.period
        result = take_match(throttle, stamp, make_alert, period, weight, fields=fields, may_recur=rule.is_relayed)
        if not result.is_duplicate:
            if result.alerts:
                self.alerts[rule.name] += 1
            self.suppressed[rule.name] += weight - bool(result.alerts)
        self._store_throttle(pre_match, key, result, found, is_new=bool(result.alerts))

    def _take_repeated(self, pre_match: PreMatch, repeated: RepeatedAlert, found: list[Alert]) -> None:
        key = (REPEATED_ALERTS, pre_match.group)
        state = self._throttle(key)
        result = add_repeats(state, pre_match.origin.stamp(pre_match.time), repeated)
        is_new = state is None or not state.is_open or state.alert is not result.state.alert
        self._store_throttle(pre_match, key, result, found, is_new=is_new)

    def _throttle(self, key: Key) -> Throttle | None:
        entry = self.store.get(key)
        return entry.state if entry is not None and isinstance(entry.state, Throttle) else None

    def _store_throttle(
        self, pre_match: PreMatch, key: Key, result: SuppressResult, found: list[Alert], *, is_new: bool
    ) -> None:
        if result.is_duplicate:
            self.counts["duplicate"] += 1
            return
        found += result.alerts
        entry = self.store.get(key)
        # However long repeats continue, their period ends at a fixed time after the first.
        begun = self._now if entry is None or is_new else entry.touched
        self._put(GroupState(*key, host_counted(pre_match, entry), begun, result.state), found)

    def _take_notice(self, pre_match: PreMatch, notice: Notice, found: list[Alert]) -> None:
        entry = self.store.get((notice.kind, pre_match.group))
        before = entry.state if entry is not None and isinstance(entry.state, Tally) else None
        tally = take_notice(before, pre_match, notice)
        if tally is None:
            self.counts["duplicate"] += 1
            return
        fresh = GroupState(notice.kind, pre_match.group, host_counted(pre_match, entry), self._now, tally)
        if entry is None:
            self._report(fresh, tally, found)
        else:
            self._put(replace(fresh, touched=entry.touched), found)

    def _report(self, entry: GroupState, tally: Tally, found: list[Alert]) -> None:
        updated, alerts = report_tally(entry.owner, tally)
        found += alerts
        self._put(replace(entry, state=updated, touched=self._now), found)

    def _put(self, entry: GroupState, found: list[Alert]) -> None:
        for gone in self.store.put(entry):
            if isinstance(gone.state, Throttle):
                found += close(gone.state)[1]
            elif isinstance(gone.state, Tally):
                found += report_tally(gone.owner, gone.state)[1]

    def _close(self, entry: GroupState, state: Throttle, found: list[Alert]) -> None:
        closed, summary = close(state)
        found += summary
        self.store.put(replace(entry, state=closed, touched=self._now))
