"""The actions that a console shows, and what people decide about them there.

A thread follows the records from the first request on, so that a console whose people use no actions reads none.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bus.connection import BusUnavailable
from foundation.errors import LannerError
from foundation.quantities import duration_text
from foundation.text import count_of
from lanner.actions.book import ActionBook, ActionRecords, ActionStatus, TrackedAction
from lanner.actions.deciding import DecisionRefused, by_hand, decide, decide_all, on_the_same
from lanner.console.store.reading import AlertReader
from lanner.errors import BadInput
from processor.actions.planning import Planner
from processor.actions.policies import ActionPolicy, Never
from schemas.action import ACTION_KINDS, DEFAULT_LEASE, ActionDecision, ActionIntent, BadActionRecord, DecisionType
from schemas.alert import Alert
from schemas.catalog.priorities import Priority

MAX_ALERTS = 2_000
"""Alerts of a host that are read for the blast radius of an action."""
_DAY = 86_400_000_000_000
_POLL_SECONDS = 0.5
_ACTIVE = ("sent", "received", "done", "failed")
_RETRY_SECONDS = 5.0
_FIRST_SECONDS = 5.0
"""How long a request waits for the first reading, and for a decision to be read back."""


@dataclass(frozen=True, slots=True)
class ActionSource:
    """Where a console's actions are recorded."""

    open: Callable[[], ActionRecords]
    """Raises BadInput, BusUnavailable, OSError or DatabaseUnusable."""
    missing: str = ""
    """Why nobody can decide here, and what to do; empty if people can."""


@dataclass(frozen=True, slots=True)
class KnownActions:
    """What was read of the records."""

    actions: Sequence[TrackedAction] = ()
    """The newest first."""
    stop: ActionDecision | None = None
    blown: Sequence[str] = ()
    problem: str = "The actions are being read."
    """Why they aren't known; empty if they are."""


@dataclass(frozen=True, slots=True)
class HandAction:
    """An action that a person may request because of an alert."""

    intent: ActionIntent
    radius: Sequence[tuple[str, str]]
    """What it would hit, as labels and texts; they may contain what an attacker wrote."""


@dataclass(frozen=True, slots=True)
class ShownAction:
    """An action as pages show it."""

    action: TrackedAction
    status: ActionStatus
    why: str
    can: Sequence[DecisionType]
    """What a person may decide about it now."""


def shown(action: TrackedAction, now: int) -> ShownAction:
    """Return an action with its state at a time, ns since the epoch."""
    status, kind = action.status(now), ACTION_KINDS[action.intent.type]
    can: list[DecisionType] = ["approve", "reject"] if status == "waiting" else []
    if status in _ACTIVE and kind.undo:
        can.append("undo")
    if status in _ACTIVE and kind.has_lease and status != "failed":
        can.append("extend")
    return ShownAction(action, status, action.why(now), can)


class ActionDesk:
    """Follows the records of actions, and stores decisions."""

    def __init__(self, source: ActionSource, clock: Callable[[], int]) -> None:
        self.missing = source.missing
        self.on_change: Callable[[], object] = lambda: None
        """Called on another thread after something was read."""
        self._source = source
        self._clock = clock
        self._known = KnownActions()
        self._book = ActionBook()
        self._records: ActionRecords | None = None
        self._lock = threading.Lock()
        self._read = threading.Condition()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def known(self) -> KnownActions:
        """Return what is known; wait for the first reading."""
        self._start()
        with self._read:
            self._read.wait_for(lambda: self._known != KnownActions(), _FIRST_SECONDS)
        return self._known

    def decide(self, id_: str, type_: DecisionType, by: str) -> TrackedAction:
        """Store a decision about an action; return the action.

        Raises:
            DecisionRefused: it isn't possible, or the records can't be read.
            OSError: it can't be stored.
            TimeoutError: it was stored, and not read back in time.
        """
        action = self._find(id_)
        made = decide(action, type_, by, self._clock())
        self._write(made, lambda: made in action.decisions)
        return action

    def decide_all(self, type_: DecisionType, subject: str, by: str) -> None:
        """Stop or resume all actions, or reset a fuse. Raises as `decide`."""
        self.known()
        made = decide_all(self._book, type_, subject, by, self._clock())

        def is_read() -> bool:
            known = self._known
            return subject not in known.blown if type_ == "reset" else (known.stop is not None) == (type_ == "stop")

        self._write(made, is_read)

    def request(self, intent: ActionIntent) -> TrackedAction:
        """Store the intent of a person. Raises as `decide`."""
        self.known()
        self._write(intent, lambda: self._book.find(intent.id) is not None)
        return self._find(intent.id)

    def stop(self) -> None:
        """Stop following."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_FIRST_SECONDS)

    def _find(self, id_: str) -> TrackedAction:
        self.known()
        found = self._book.find(id_)
        if found is None:
            raise DecisionRefused("there is no such action; it may be too old")
        return found

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="console-actions", daemon=True)
                self._thread.start()

    def _write(self, record: ActionIntent | ActionDecision, is_read: Callable[[], bool]) -> None:
        if self.missing:
            raise DecisionRefused(self.missing)
        records = self._records
        if records is None:
            raise DecisionRefused(self._known.problem)
        try:
            with self._lock:
                records.write(record)
        except (BusUnavailable, BadActionRecord) as error:
            raise OSError(str(error)) from None
        self._wake.set()
        with self._read:
            if not self._read.wait_for(is_read, _FIRST_SECONDS):
                raise TimeoutError

    def _follow(self) -> None:
        """Read the records until the console ends; open them again after a failure."""
        while not self._stopped.is_set():
            try:
                if self._records is None:
                    self._records = self._source.open()
                changed = self._records.update(self._book)
            except (LannerError, OSError) as error:
                text = error.messages[0] if isinstance(error, BadInput) else str(error)
                self._set(replace(self._known, problem=text))
                self._wait(_RETRY_SECONDS)
                continue
            if changed or self._known.problem:
                book = self._book
                self._set(KnownActions(book.actions, book.stop, book.blown, ""))
            self._wait(_POLL_SECONDS)
        if self._records is not None:
            self._records.close()

    def _set(self, known: KnownActions) -> None:
        with self._read:
            self._known = known
            self._read.notify_all()
        self.on_change()

    def _wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()


def hand_actions(alert: Alert, by: str, now: int) -> dict[tuple[str, str], ActionIntent]:
    """Return what a person may request because of an alert, by type and target, with what is refused and why.

    They are planned as a policy's are, so a target counts only if the alert identifies it.
    """
    policies = tuple(
        ActionPolicy(
            name=f"{type_} {target}",
            type=type_,
            target=target,
            state="do",
            lease=DEFAULT_LEASE if kind.has_lease else 0,
            rules=(),
            tags=(),
            priority=Priority.DEBUG,
            never=Never(),
        )
        for type_, kind in ACTION_KINDS.items()
        for target in kind.targets
    )
    found: dict[tuple[str, str], ActionIntent] = {}
    for planned in Planner({alert.rule: policies}).plan(replace(alert, repeats=None)):
        intent = planned.intent
        if not intent.refusal:
            intent = by_hand(intent, "", by, now)
        found[intent.type, intent.target] = intent
    return found


def blast_radius(
    alert: Alert, intent: ActionIntent, reader: AlertReader, known: KnownActions, now: int
) -> list[tuple[str, str]]:
    """Return what an action by hand would hit, as far as alerts of the last 24 hours show it. Raises OSError."""
    others = reader.whole_alerts([alert.hostname], now - _DAY, now, MAX_ALERTS)
    near = [each for each in others if each.host_id == alert.host_id and _is_hit(each, intent)]
    containers = {each.stated.get("container.id") for each in near} - {None, "", "host"}
    processes = {(each.stated.get("proc.pid"), each.stated.get("proc.pid.ts")) for each in near} - {(None, None)}
    more = " or more" if len(others) == MAX_ALERTS else ""
    about = (
        f"{count_of(len(near), 'alert')}{more} about it, of {count_of(len(containers), 'container')} and "
        f"{count_of(len(processes), 'process', 'processes')}"
    )
    lasting = [f"{each.status(now)} {each.intent.summary}" for each in on_the_same(known.actions, intent, now)]
    return [
        ("target", intent.text),
        ("host", f"{intent.hostname} ({intent.host_id})"),
        *([("workload", intent.workload)] if intent.workload else []),
        ("ends", f"by itself in {duration_text(intent.lease)}" if intent.lease else "not by itself"),
        ("alerts, 24 h", about),
        *([("actions", "; ".join(lasting[:5]))] if lasting else []),
    ]


_ABOUT: Mapping[str, str] = {
    "process": "proc.pid",
    "session": "proc.sid",
    "user": "user.uid",
    "program": "proc.exepath",
}


def _is_hit(alert: Alert, intent: ActionIntent) -> bool:
    """Return whether an alert of the same host is about what an action would hit."""
    if intent.target == "host":
        return True
    if intent.target == "container":
        found = str(alert.stated.get("container.full_id") or alert.stated.get("container.id") or "")
        return bool(found) and (intent.container_id.startswith(found) or found.startswith(intent.container_id))
    wanted = {
        "process": intent.pid,
        "session": intent.pid,
        "user": intent.uid,
        "program": intent.path,
        "file": intent.path,
    }.get(intent.target)
    return alert.stated.get(_ABOUT.get(intent.target, "fd.name")) == wanted
