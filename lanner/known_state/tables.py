"""The state of stateful rules: read from a fleet's changelog or a state file, or computed from retained events."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lanner.errors import BadInput
from lanner.known_state.files import ValuesFile
from lanner.recorder.coverage import RecordingCoverage, not_collected
from lanner.recorder.store import StoredBatch
from processor.correlation.correlator import Correlator
from processor.correlation.first_seen import Sightings
from processor.correlation.groups import BadState, Store, decode_record
from processor.correlation.state import WindowState
from processor.detection.pre_matcher import PreMatcher
from processor.detection.view import BatchView
from processor.matching.pre_match import (
    Group,
    PreMatch,
    SeenGroup,
    SeenValue,
    Span,
    StateCommand,
    command_about,
    parts_of,
    seconds_of,
)
from processor.pushdown.derive import derive
from processor.rule import Kind
from processor.splitting import Plan, StatefulMacro

_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class MacroState:
    """The state of one macro."""

    name: str
    type: Kind
    fingerprint: str
    groups: int
    values: int
    """The known values of first_seen; 0 for windows."""
    learning: int
    """Groups of first_seen that are still learning."""
    full: int
    """Groups of first_seen that don't fire for some host, container or user, whose value had no room."""


@dataclass(frozen=True, slots=True)
class KnownValue:
    """One value that first_seen knows."""

    group: tuple[str, ...]
    value: tuple[str, ...]
    seen: int
    """Arrival of the newest sighting, s since the epoch."""


def empty_state() -> WindowState:
    """Return state without limits."""
    sightings = Sightings({}, maximum=_UNLIMITED, group_maximum=_UNLIMITED)
    return WindowState(Store(_UNLIMITED, lambda entry: entry.touched), sightings)


def read_state_file(path: Path) -> WindowState:
    """Read the files of `lanner run`. Raises BadInput."""
    state = empty_state()
    try:
        ValuesFile(path).load(state)
        state.restore(path.read_bytes())
    except FileNotFoundError:
        raise BadInput(
            f"{path}: no such file: `lanner run` stores there what stateful rules remember. --topic reads a fleet's."
        ) from None
    except PermissionError as error:
        raise BadInput(f"{path}: {error.strerror}: what rules remember is private; use sudo.") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.") from None
    except BadState as error:
        raise BadInput(f"{path}: {error}.") from None
    return state


def load_all(blobs: Iterator[bytes]) -> tuple[WindowState, int]:
    """Return the state in the records of a changelog, and how many of them can't be read."""
    state, unreadable = empty_state(), 0
    for blob in blobs:
        try:
            decode_record(blob)
            state.load(blob)
        except BadState:
            unreadable += 1
    return state, unreadable


def macro_states(state: WindowState, plan: Plan, now: int) -> list[MacroState]:
    """Return what each macro of the rules remembers. now: ns since the epoch."""
    groups: dict[str, int] = {}
    for entry in state.store:
        groups[entry.owner] = groups.get(entry.owner, 0) + 1
    counting = {macro.fingerprint for macro in plan.macros if macro.correlation.kind.counts_hosts}
    values: dict[str, int] = {}
    known: dict[str, list[SeenGroup]] = {}
    beginnings: dict[str, list[SeenGroup]] = {}
    for (owner, group, value), _, record in state.sightings.records():
        if value is not None:
            values[owner] = values.get(owner, 0) + 1
        elif isinstance(record, SeenGroup):
            (known if group or owner not in counting else beginnings).setdefault(owner, []).append(record)
    found = []
    for macro in plan.macros:
        owner, correlation = macro.fingerprint, macro.correlation
        span, seen = Span.of(correlation.timespan, correlation.learning), known.get(owner, [])
        is_learning = [now - each.begun < correlation.learning for each in beginnings.get(owner, seen)]
        # Prevalence learns for all groups of a partition together.
        learning = len(seen) if owner in beginnings and all(is_learning) else sum(is_learning)
        full = sum(any(span.is_known(since, seconds_of(now)) for _, since in each.overflows) for each in seen)
        count = groups.get(owner, 0) + len(seen)
        found.append(MacroState(macro.name, correlation.type, owner, count, values.get(owner, 0), learning, full))
    return found


def known_values(state: WindowState, macro: StatefulMacro) -> list[KnownValue]:
    """Return the values that a macro knows, by group, the newest last."""
    found = [
        KnownValue(_texts(group), parts_of(record.value, len(macro.correlation.value_fields)), record.seen)
        for (owner, group, _), _, record in state.sightings.records()
        if owner == macro.fingerprint and isinstance(record, SeenValue)
    ]
    return sorted(found, key=lambda each: (each.group, each.seen, each.value))


def macro_named(plan: Plan, name: str) -> StatefulMacro:
    """Return a stateful macro of the rules by its name. Raises BadInput."""
    macros: Mapping[str, StatefulMacro] = {macro.name: macro for macro in plan.macros}
    if name in macros:
        return macros[name]
    known = ", ".join(sorted(macros)) or "none"
    raise BadInput(f"{name}: the active rules use no stateful macro with this name; they use: {known}.")


def chosen_group(macro: StatefulMacro, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the group with these values; None if there are none. Raises BadInput."""
    group_by = macro.correlation.group_by
    if values and len(values) != len(group_by):
        raise BadInput(f"--group: {macro.name} is grouped by {', '.join(group_by) or 'nothing'}: one each.")
    return values if values or not group_by else None


def _texts(group: Group) -> tuple[str, ...]:
    return tuple(value or "" for value in group)


def learning_macros(plan: Plan) -> tuple[StatefulMacro, ...]:
    """Return the macros that learn."""
    return tuple(macro for macro in plan.macros if macro.correlation.kind.remembers_values)


class Learner:
    """Evaluates the stateful macros of rules on batches, in the order in which they arrived."""

    def __init__(self, plan: Plan, owners: Collection[str]) -> None:
        """Begin. owners: fingerprints of the macros to learn for."""
        without_rules = replace(plan, rules=())
        self._owners = owners
        self._matcher = PreMatcher(without_rules)
        self._correlator = Correlator(without_rules)
        self._coverage = RecordingCoverage()

    @property
    def values(self) -> int:
        """The number of values known."""
        return len(self._correlator.sightings)

    def take(self, stored: StoredBatch) -> None:
        """Evaluate a batch that has its append time."""
        self._coverage.see(stored)
        self._correlator.process(self._matcher.process(BatchView(stored.batch)), stored.batch.appended)

    def not_collected(self) -> list[str]:
        """Return what of the events that the macros need was not collected; events that were lost don't count."""
        hosts = {key: replace(host, lost=Counter(), missing=0) for key, host in self._coverage.hosts.items()}
        needed = derive(self._matcher.conditions, self._matcher.event_types)
        return not_collected(self._matcher.event_types, needed, hosts)

    def commands(self) -> Iterator[PreMatch]:
        """Yield what to send to the correlate stage: all values first, then when their groups began.

        A group that began in the past no longer learns, so that a value that followed would be new. If not all events
        were collected, more values than these may be known, and learning goes on.
        """
        begun = []
        is_complete = not self.not_collected()
        for (owner, group, value), host, record in self._correlator.sightings.records():
            if owner not in self._owners:
                continue
            if isinstance(record, SeenValue):
                yield command_about(StateCommand("learn", owner, value), group, host, record.seen * 10**9)
            elif is_complete:
                begun.append(command_about(StateCommand("begin", owner), group, host, record.begun))
        yield from begun
