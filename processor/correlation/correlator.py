"""Judges pre-matched events by windows and makes alerts of what matches, repeats told once.

Pure: its clock is the times that it is given. The one-process pipeline, replay, rule tests and the fleet's
processor are shells round this.

There are two times. Event time, a host's claim that is never later than its message, decides what is in a window.
Append time, the broker's, is the clock: by it windows are forgotten and repeats end. In replay there is no broker, so
event time is the clock as well.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from processor.correlation.notices import QUIET, Tally, take_notice, tell
from processor.correlation.plan.split import Plan, StatefulMacro, StatefulRule, Term
from processor.correlation.pre_match import Candidate, Feed, Notice, PreMatch, RepeatedAlert
from processor.correlation.state.accounts import NEWCOMERS
from processor.correlation.state.entry import GroupState, State, decode_entry, encode_entry, entry_key
from processor.correlation.state.snapshot import read_snapshot, write_snapshot
from processor.correlation.state.store import Key, Store
from processor.correlation.suppress import SuppressResult, Throttle, add_repeats, close, take_match
from processor.correlation.window_fields import WindowToken, filled, leg_values, pieces
from processor.correlation.windows.counting import EventCount, ValueCount, count_event, count_value
from processor.correlation.windows.outcome import ALLOWED_LATENESS, Fired, LegEvent, UpdateOutcome
from processor.correlation.windows.retime import latest_time, retimed
from processor.correlation.windows.sequences import Ordered, Temporal, extend_chain, see_leg
from processor.detection.redaction import Redact
from schemas.alert import Alert, Window, alert_id, bounded

GRACE_PERIOD = 5_000_000_000
"""How long after the end of a period its last events may still arrive before a tick ends it, ns."""
REPORTED_RETENTION = 600_000_000_000
"""How long it is known which repeats are told already, so that one delivered again makes no alert, ns."""
MAX_GROUPS = 100_000
CLOCK_SLACK = 60_000_000_000
"""How far the clocks of brokers may differ, ns: one that goes back by more was set, and what is remembered follows."""
REPEATED_ALERTS = "repeated alerts"
"""Owner of counts of alerts that detection counted instead of sending them."""
_LONGEST_FAULT = 300

_Truths = dict[str, Fired | UpdateOutcome | None]
"""By fingerprint, of the stateful macros that the event reached: what their windows tell where they are true, None
where they are not, and why where they did not take the event: then neither the macro nor its negation is true."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """One record that a table has to learn."""

    key: Key
    record: bytes
    """Its key in the table."""
    blob: bytes | None
    """None for what is gone."""
    cause: int
    """The message that changed it last, as note_cause was told."""
    fault: str = ""
    """Why the entry could not be encoded; empty where it could."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """A plan, indexed by terms."""

    legs: Mapping[str, tuple[int, int, Term]]
    """By term: the macro's place, the leg's and the term."""
    terms: Mapping[str, tuple[StatefulRule, Term]]
    macros: tuple[StatefulMacro, ...]
    timespans: Mapping[str, int]
    tokens: Mapping[str, tuple[WindowToken, ...]]
    """By output, those in it: two versions of a rule may be in force for a while."""
    redact: Redact

    @classmethod
    def of(cls, plan: Plan) -> "_Rules":
        return cls(
            legs={
                term.id: (place, number, term)
                for place, macro in enumerate(plan.macros)
                for number, leg in enumerate(macro.legs)
                for term in leg.terms
            },
            terms={term.id: (rule, term) for rule in plan.rules for term in rule.terms},
            macros=plan.macros,
            timespans={macro.fingerprint: macro.correlation.timespan for macro in plan.macros},
            tokens={rule.output: pieces(rule.output)[1] for rule in plan.rules},
            redact=plan.redact,
        )


class Correlator:
    """Rules with memory, and their memory.

    Every method may be called again with what was given before: an event that was applied changes nothing.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        lateness: int = ALLOWED_LATENESS,
        settle: int = GRACE_PERIOD,
        max_groups: int = MAX_GROUPS,
    ) -> None:
        """Begin without memory.

        Args:
            plan: the rules and the macros that they remember by.
            lateness: how much older than its window an event may be, ns.
            settle: how long a tick waits for the last events of a period, ns.
            max_groups: how many windows and counts of repeats are kept at most.
        """
        self._rules = _Rules.of(plan)
        self._lateness = lateness
        self._settle = settle
        self._now = 0
        """The clock: the append time of what was applied last, or in replay the newest event time, ns."""
        self._store = Store(max_groups, self._deadline)
        self._encoded: dict[int, tuple[GroupState, bytes]] = {}
        """By identity; the entry is kept with its bytes, else its id could come back as another's."""
        self.counts: Counter[str] = Counter()
        """Events that a window did not take, by reason (late, stale), duplicate matches, terms of unknown rules."""
        self.alerts: Counter[str] = Counter()
        """Alerts by rule, summaries left out."""
        self.suppressed: Counter[str] = Counter()
        """Matches by rule that were counted instead of sent."""

    @property
    def evicted(self) -> Counter[str]:
        """Groups that were forgotten for want of room or because they can't be written, by the id of the host."""
        return self._store.evicted

    def take_evicted(self) -> Counter[str]:
        """Return the groups that had to go since the last call, by account."""
        return self._store.take_evicted()

    @property
    def groups(self) -> int:
        """How many windows and counts of repeats are kept."""
        return len(self._store)

    def process(self, pre_matches: Iterable[PreMatch], now: int | None = None) -> list[Alert]:
        """Apply events in the order in which they come.

        Args:
            pre_matches: the events.
            now: append time of the message that they came in, ns since the epoch: what was over by then ends first.
                None where events are the clock.
        """
        found: list[Alert] = [] if now is None else self.tick(now)
        for pre_match in pre_matches:
            if now is None:
                self._now = max(self._now, pre_match.time)
            self.apply(pre_match, found)
        return found

    def tick(self, now: int) -> list[Alert]:
        """End the periods that are over and forget what no event can need any more.

        Args:
            now: append time of the newest message, or in replay the newest event time, ns since the epoch.
        """
        if self._now - now > CLOCK_SLACK:
            self.shift(now - self._now)
        self._now = max(self._now, now)
        found: list[Alert] = []
        for entry in self._store.due(self._now):
            if isinstance(entry.state, Throttle) and entry.state.is_open:
                try:
                    self._close(entry, entry.state, found)
                except Exception:  # noqa: BLE001  a count whose alert can't be read must not hold up the others
                    self.forget((entry.owner, entry.group))
            elif isinstance(entry.state, Tally) and entry.state.numbers:
                self._tell(entry, entry.state, found)
            else:
                self._store.remove((entry.owner, entry.group))
        return found

    def flush_notices(self) -> list[Alert]:
        """Return the internal alerts that are summed but not yet due; windows and repeats remain."""
        found: list[Alert] = []
        for entry in list(self._store):
            if isinstance(entry.state, Tally):
                self._tell(entry, entry.state, found)
        return found

    def finish(self) -> list[Alert]:
        """End all periods: there are no more events."""
        found: list[Alert] = []
        for entry in list(self._store):
            if isinstance(entry.state, Throttle) and entry.state.is_open:
                self._close(entry, entry.state, found)
            elif isinstance(entry.state, Tally):
                self._tell(entry, entry.state, found)
        return found

    def shift(self, step: int) -> None:
        """Move all that is remembered along with a clock that was set.

        Args:
            step: how far the clock was set forward, or back where it is negative, ns.
        """
        self._now += step
        for entry in list(self._store):
            state = retimed(entry.state, lambda time: time + step)
            self._store.put(replace(entry, touched=entry.touched + step, state=state))

    def repair(self, now: int) -> int:
        """Set what is remembered of the future back to the present: a wrong clock stamped it.

        Args:
            now: append time of a message that came after all that is remembered, ns since the epoch.

        Returns:
            How many windows and counts of repeats were repaired.
        """
        limit = now + CLOCK_SLACK
        wrong = [entry for entry in self._store if max(entry.touched, latest_time(entry.state)) > limit]
        for entry in wrong:
            state = retimed(entry.state, lambda time: min(time, now))
            self._store.put(replace(entry, touched=min(entry.touched, now), state=state))
        return len(wrong)

    def change_rules(self, plan: Plan, *, is_settled: bool = True) -> None:
        """Go on with other rules; unchanged macros keep their windows, and what was counted is told in its time.

        Args:
            plan: the other rules.
            is_settled: no others can be in force elsewhere: windows of macros that are not in it are forgotten.
        """
        self._rules = _Rules.of(plan)
        if is_settled:
            self.forget_unknown()

    def snapshot(self) -> bytes:
        """Give all that is remembered; what has not changed since the last one is not encoded again."""
        before = self._encoded
        self._encoded = {}
        for entry in list(self._store):
            known = before.get(id(entry))
            blob = _encoded(entry)[0] if known is None else known[1]
            if blob is not None:
                self._encoded[id(entry)] = (entry, blob)
            else:
                self.forget((entry.owner, entry.group))
        return write_snapshot(self._now, [blob for _, blob in self._encoded.values()])

    def restore(self, data: bytes, now: int | None = None) -> None:
        """Remember what a snapshot holds, in the place of all that is remembered; windows of other macros are left out.

        Args:
            data: as snapshot gave it.
            now: by the clock of those that wrote it, ns since the epoch: where that was ahead, all is moved along with
                it. None where it is the same clock, still running.

        Raises:
            BadState: the bytes are no snapshot, or of another version; nothing is changed.
        """
        written, blobs = read_snapshot(data)
        entries = [decode_entry(blob) for blob in blobs]
        for entry in list(self._store):
            self._store.remove((entry.owner, entry.group))
        self._now = written
        for entry in entries:
            self._store.put(entry)
        self.forget_unknown()
        if now is not None:
            if written > now:
                self.shift(now - written)
            self.repair(now)
        self._store.take_changes()

    @property
    def has_changes(self) -> bool:
        """Whether there is anything for take_changes to give."""
        return self._store.has_changes

    def everything(self) -> dict[bytes, bytes]:
        """Give all that is remembered, as keys and blobs of a table."""
        found = {entry.key: _encoded(entry)[0] for entry in self._store}
        return {key: blob for key, blob in found.items() if blob is not None}

    def take_changes(self) -> list[StateChange]:
        """Return what a table has to learn since the last call.

        An entry that can't be encoded is forgotten, here and in the table; the others don't suffer for it.
        """
        changes = []
        for key, entry, cause in self._store.take_changes():
            blob, fault = (None, "") if entry is None else _encoded(entry)
            if fault:
                self.forget(key)
            changes.append(StateChange(key, entry_key(*key), blob, cause, fault))
        self._store.take_changes()
        return changes

    def forget(self, key: Key) -> None:
        """Forget an entry that can't be written; in the table it has to be deleted as well."""
        entry = self._store.get(key)
        if entry is not None:
            self._store.remove(key)
            self._store.note_evicted(entry.host)

    def note_cause(self, cause: int) -> None:
        """Note which message is applied from now on; its number stands beside the changes that it makes."""
        self._store.cause = cause

    def load(self, blob: bytes) -> None:
        """Remember one blob of a table, also where its macro is unknown: rules that know it may be on their way.

        What time it is, it doesn't say: messages do, and `repair` has to follow.

        Raises:
            BadState: the bytes are none, or of another version.
        """
        self._store.put(decode_entry(blob))
        self._store.take_changes()

    def forget_unknown(self) -> None:
        """Forget windows of macros that are not in the rules."""
        for entry in list(self._store):
            # What is summed holds all that its alert needs, whether the rule is there or not.
            if not isinstance(entry.state, (Throttle, Tally)) and entry.owner not in self._rules.timespans:
                self._store.remove((entry.owner, entry.group))

    def _deadline(self, entry: GroupState) -> int:
        state = entry.state
        if isinstance(state, Throttle):
            if state.is_open:
                return entry.touched + state.period + self._settle
            return entry.touched + REPORTED_RETENTION
        if isinstance(state, Tally):
            return entry.touched + QUIET
        timespan = self._rules.timespans.get(entry.owner)
        if timespan is None:
            # Until it is settled whether anybody knows it; then it is forgotten.
            return max(self._now, entry.touched) + self._lateness
        return entry.touched + timespan + self._lateness

    def apply(self, pre_match: PreMatch, found: list[Alert]) -> None:
        """Apply one event; its alerts are added to found one by one, so that a fault loses none of them."""
        # No batch is older than its events, so a host whose clock is ahead can't outrun others in a window.
        limit = pre_match.appended or self._now
        if pre_match.time > limit:
            pre_match = replace(pre_match, time=limit)
        if pre_match.notice is not None:
            self._take_notice(pre_match, pre_match.notice, found)
        if pre_match.repeated is not None:
            self._take_repeated(pre_match, pre_match.repeated, found)
        truths = self._feed(pre_match, found) if pre_match.feeds else {}
        judged: set[str] = set()
        for candidate in pre_match.candidates:
            known = self._rules.terms.get(candidate.term)
            if known is None:
                self.counts["unknown_term"] += 1
                continue
            rule, term = known
            if rule.name not in judged and _holds(term, truths):
                judged.add(rule.name)
                told = next((truths[name] for name in rule.macros if name in term.needs), None)
                self._match(pre_match, candidate, rule, told if isinstance(told, Fired) else None, found)

    def _feed(self, pre_match: PreMatch, found: list[Alert]) -> _Truths:
        by_macro: dict[int, list[tuple[int, Term, Feed]]] = {}
        for feed in pre_match.feeds:
            known = self._rules.legs.get(feed.term)
            if known is None:
                self.counts["unknown_term"] += 1
            else:
                place, leg, term = known
                by_macro.setdefault(place, []).append((leg, term, feed))
        truths: _Truths = {}
        # Macros that others ask stand before them.
        for place in sorted(by_macro):
            holding = {leg: feed for leg, term, feed in by_macro[place] if _holds(term, truths)}
            if holding:
                macro = self._rules.macros[place]
                truths[macro.fingerprint] = self._update(pre_match, macro, holding, found)
        return truths

    def _update(
        self, pre_match: PreMatch, macro: StatefulMacro, holding: Mapping[int, Feed], found: list[Alert]
    ) -> Fired | UpdateOutcome | None:
        entry = self._store.get((macro.fingerprint, pre_match.group))
        state, fired, outcome = self._step(macro, None if entry is None else entry.state, pre_match, holding)
        if outcome is UpdateOutcome.TAKEN:
            host = _account(pre_match, entry)
            self._keep(GroupState(macro.fingerprint, pre_match.group, host, self._now, state), found)
            return fired
        self.counts[outcome.value] += 1
        return outcome

    def _step(
        self, macro: StatefulMacro, state: State | None, pre_match: PreMatch, holding: Mapping[int, Feed]
    ) -> tuple[State, Fired | None, UpdateOutcome]:
        asked = macro.correlation
        stamp = pre_match.origin.stamp(pre_match.time)
        timespan, threshold, lateness = asked.timespan, asked.threshold, self._lateness
        if asked.type == "event_count":
            count = state if isinstance(state, EventCount) else EventCount()
            return count_event(
                count, stamp, timespan=timespan, threshold=threshold, lateness=lateness, weight=pre_match.weight
            )
        if asked.type == "value_count":
            values = state if isinstance(state, ValueCount) else ValueCount()
            value = holding[0].value or ""
            return count_value(values, stamp, value, timespan=timespan, threshold=threshold, lateness=lateness)
        kept = {leg: LegEvent(stamp, pre_match.hostname, feed.kept) for leg, feed in holding.items()}
        if asked.type == "temporal":
            legs = state if isinstance(state, Temporal) else Temporal()
            return see_leg(legs, kept, names=asked.legs, timespan=timespan, lateness=lateness)
        chains = state if isinstance(state, Ordered) else Ordered()
        return extend_chain(chains, kept, names=asked.legs, timespan=timespan, lateness=lateness)

    def _match(
        self,
        pre_match: PreMatch,
        candidate: Candidate,
        rule: StatefulRule,
        window: Fired | None,
        found: list[Alert],
    ) -> None:
        def make_alert() -> Alert:
            tokens = self._rules.tokens[rule.output]
            return self._rules.redact(bounded(_alert(pre_match, candidate, rule, window, tokens)))

        key = (rule.fingerprint, candidate.by)
        stamp = pre_match.origin.stamp(pre_match.time)
        weight = pre_match.weight - (0 if window is None else window.unmet)
        told = take_match(self._throttle(key), stamp, make_alert, rule.suppress.period, weight)
        if not told.is_duplicate:
            if told.alerts:
                self.alerts[rule.name] += 1
            self.suppressed[rule.name] += weight - bool(told.alerts)
        self._keep_throttle(pre_match, key, told, found, is_new=bool(told.alerts))

    def _take_repeated(self, pre_match: PreMatch, repeated: RepeatedAlert, found: list[Alert]) -> None:
        key = (REPEATED_ALERTS, pre_match.group)
        state = self._throttle(key)
        told = add_repeats(state, pre_match.origin.stamp(pre_match.time), repeated)
        is_new = state is None or not state.is_open or state.alert is not told.state.alert
        self._keep_throttle(pre_match, key, told, found, is_new=is_new)

    def _throttle(self, key: Key) -> Throttle | None:
        entry = self._store.get(key)
        return entry.state if entry is not None and isinstance(entry.state, Throttle) else None

    def _keep_throttle(
        self, pre_match: PreMatch, key: Key, told: SuppressResult, found: list[Alert], *, is_new: bool
    ) -> None:
        if told.is_duplicate:
            self.counts["duplicate"] += 1
            return
        found += told.alerts
        entry = self._store.get(key)
        # Repeats that go on end a period after the first, however long they go on.
        begun = self._now if entry is None or is_new else entry.touched
        self._keep(GroupState(*key, _account(pre_match, entry), begun, told.state), found)

    def _take_notice(self, pre_match: PreMatch, notice: Notice, found: list[Alert]) -> None:
        entry = self._store.get((notice.kind, pre_match.group))
        before = entry.state if entry is not None and isinstance(entry.state, Tally) else None
        tally = take_notice(before, pre_match, notice)
        if tally is None:
            self.counts["duplicate"] += 1
            return
        fresh = GroupState(notice.kind, pre_match.group, _account(pre_match, entry), self._now, tally)
        if entry is None:
            self._tell(fresh, tally, found)
        else:
            self._keep(replace(fresh, touched=entry.touched), found)

    def _tell(self, entry: GroupState, tally: Tally, found: list[Alert]) -> None:
        told, alerts = tell(entry.owner, tally)
        found += alerts
        self._keep(replace(entry, state=told, touched=self._now), found)

    def _keep(self, entry: GroupState, found: list[Alert]) -> None:
        for gone in self._store.put(entry):
            if isinstance(gone.state, Throttle):
                found += close(gone.state)[1]
            elif isinstance(gone.state, Tally):
                found += tell(gone.owner, gone.state)[1]

    def _close(self, entry: GroupState, state: Throttle, found: list[Alert]) -> None:
        closed, summary = close(state)
        found += summary
        self._store.put(replace(entry, state=closed, touched=self._now))


def _account(pre_match: PreMatch, entry: GroupState | None) -> str:
    """Return for whom a group counts: the known host that was the first to touch it."""
    if entry is not None and entry.host != NEWCOMERS:
        return entry.host
    return pre_match.origin.host_id if pre_match.is_established else NEWCOMERS


def _encoded(entry: GroupState) -> tuple[bytes | None, str]:
    """Return an entry's blob, or None and why there is none."""
    try:
        return encode_entry(entry), ""
    except Exception as problem:  # noqa: BLE001  the state of one group must not cost that of others
        return None, f"{type(problem).__name__}: {problem}"[:_LONGEST_FAULT]


def _holds(term: Term, truths: _Truths) -> bool:
    return all(isinstance(truths.get(name), Fired) for name in term.needs) and all(
        truths.get(name) is None for name in term.forbids
    )


def _alert(
    pre_match: PreMatch, candidate: Candidate, rule: StatefulRule, fired: Fired | None, tokens: tuple[WindowToken, ...]
) -> Alert:
    content = candidate.content()
    text, of_window = filled(content.texts, tokens, fired, pre_match.group)
    origin = pre_match.origin
    # Throttling alone doesn't change which alert it is.
    group = tuple(str(value) for value in pre_match.group) if rule.macros else ()
    cause = (origin.host_id, origin.boot_id, origin.collector_start, origin.sequence, origin.index)
    window = None
    if fired is not None:
        named = dict(zip(rule.group_by, pre_match.group, strict=True))
        window = Window(fired.count, fired.first, fired.last, named, fired.values, leg_values(fired))
    return Alert(
        id=alert_id(pre_match.time, rule.name, *group, *cause),
        time=pre_match.time,
        rule=rule.name,
        priority=rule.priority,
        output=text,
        output_fields={**content.fields, **of_window},
        tags=rule.tags,
        source=rule.source,
        hostname=pre_match.hostname,
        host_id=origin.host_id,
        event=content.event,
        window=window,
    )
