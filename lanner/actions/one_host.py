"""The actions of one host: requests of its alerts become intents, which the executor does; a file has the records.

It has no power to act: it passes intents and decisions to the process that has it, and records what that answers.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from foundation.sqlite import as_os_errors, open_database, opening, transaction
from foundation.text import OnNote, printable
from lanner.actions.book import ActionBook, ActionRecord, ActionRecords
from lanner.errors import BadInput
from processor.actions.planning import Planner
from processor.actions.policies import ActionPolicy
from processor.actions.requests import ActionRequest, PolicyBudgets, action_result, fuse_blown
from schemas.action import (
    ActionDecision,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    decode_action_record,
    encode_action_record,
)
from schemas.alert import Alert

_FAILURE_SECONDS = 60.0
FILE_NAME = "actions.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, value BLOB, stored INTEGER);
"""
_KINDS = {"intent": ActionIntent, "decision": ActionDecision, "result": ActionResult}
_RETAINED = 30 * 86_400_000_000_000


class Courier(Protocol):
    """The connection to the executor."""

    def send_intent(self, value: bytes, signature: bytes, stored: int, now: int) -> None:
        """Send an intent, when it was stored and what time it is, ns since the epoch, by the same clock."""

    def send_decision(self, value: bytes, signature: bytes, stored: int, now: int) -> None:
        """Send a decision, as an intent."""

    def poll(self) -> Sequence[ActionResult]:
        """Return the results that came since the last call."""

    def close(self) -> None:
        """Close the connection."""


class OneHostActions:
    """Takes the alerts of `lanner run`."""

    def __init__(self, records: ActionRecords, courier: Courier, on_note: OnNote) -> None:
        """Begin without policies.

        Args:
            records: where intents, decisions and results are recorded.
            courier: the executor.
            on_note: receives messages for an operator.
        """
        self._on_note = on_note
        self._failed_at = -_FAILURE_SECONDS
        self._records = records
        self._courier = courier
        self._planner = Planner({})
        self._budgets = PolicyBudgets()
        self._has_sent = False
        """True once the executor was needed: until then, nobody needs to know that it does not run."""
        self._is_restored = False
        """True once the budgets have what was spent before this process started."""
        self._own: set[str] = set()
        """Ids of intents that were sent when they were made."""
        self.book = ActionBook()
        """The state of all recorded actions."""
        self._resume()

    def change_policies(self, by_rule: Mapping[str, tuple[ActionPolicy, ...]]) -> None:
        """Request other actions from now on. by_rule: the policies that the alerts of each rule request."""
        self._planner = Planner(by_rule)
        if not self._is_restored:
            self._is_restored = True
            self._restore({policy.name: policy for policies in by_rule.values() for policy in policies})

    def take(self, alert: Alert) -> Iterator[Alert]:
        """Record what an alert requests, pass it to the executor, and yield alerts about it."""
        now = time.time_ns()
        for planned in self._planner.plan(alert):
            if planned.intent.refusal:
                # The alert states it.
                continue
            was_blown = self._budgets.blown(planned.policy.name)
            intent = self._budgets.take(ActionRequest(planned.intent, planned.policy.budget, hosts=1), now)
            if intent is None:
                continue
            if not self._recorded(intent):
                continue
            self._own.add(intent.id)
            self._send_intent(intent, now, now)
            if (why := self._budgets.blown(planned.policy.name)) and not was_blown:
                yield fuse_blown(intent, why)

    def poll(self) -> Iterator[Alert]:
        """Pass what people recorded to the executor, record its results, and yield alerts about them."""
        now = time.time_ns()
        for record in self._update():
            if isinstance(record, ActionDecision):
                self._decide(record, now)
            elif isinstance(record, ActionIntent) and record.id not in self._own:
                self._send_intent(record, now, now)
        self._own.clear()
        for result in self._courier.poll() if self._has_sent else ():
            self._recorded(result)
            if result.outcome != "received":
                action = self.book.find(result.intent)
                yield action_result(result, None if action is None else action.intent)

    def _recorded(self, record: ActionRecord) -> bool:
        """Record something; return False if that failed, so that it isn't begun: no alert may end this process."""
        try:
            self._records.write(record)
        except (OSError, BadActionRecord) as error:
            self._report(f"an action can't be recorded, and isn't begun: {printable(str(error))}.")
            return False
        return True

    def _update(self) -> Sequence[ActionRecord]:
        try:
            return self._records.update(self.book)
        except OSError as error:
            self._report(f"records of actions can't be read: {printable(str(error))}.")
            return ()

    def _report(self, text: str) -> None:
        if time.monotonic() >= self._failed_at + _FAILURE_SECONDS:
            self._failed_at = time.monotonic()
            self._on_note(text, "error")

    def close(self) -> None:
        """Close the records and the connection."""
        self._courier.close()
        self._records.close()

    def _resume(self) -> None:
        """Send what the executor may have missed while this process didn't run."""
        self._update()
        now = time.time_ns()
        if self.book.stop is not None:
            self._decide(self.book.stop, now)
        for action in self.book.actions:
            status = action.status(now)
            # Its results may wait, such as that its lease has ended.
            self._has_sent |= status == "done"
            if status in ("waiting", "sent"):
                self._send_intent(action.intent, action.stored, now)
            for decision in action.decisions:
                # Anything else was done to an action that lasts; what is undone twice stays undone.
                if status in ("waiting", "sent") or (status == "done" and decision.type == "undo"):
                    self._decide(decision, now)

    def _restore(self, policies: Mapping[str, ActionPolicy]) -> None:
        """Spend again what was spent before: a restart gives no policy a whole budget, and resets no fuse."""
        for action in reversed(self.book.actions):
            policy = policies.get(action.intent.policy)
            if policy is not None:
                intent = replace(action.intent, refusal="")
                self._budgets.take(ActionRequest(intent, policy.budget, hosts=1), action.stored)
        for name in policies.keys() - set(self.book.blown):
            self._budgets.reset(name, time.time_ns())

    def _send_intent(self, intent: ActionIntent, stored: int, now: int) -> None:
        if not intent.refusal and intent.state != "would":
            self._has_sent = True
            self._courier.send_intent(encode_action_record(intent), b"", stored, now)

    def _decide(self, decision: ActionDecision, now: int) -> None:
        if decision.type == "reset":
            self._budgets.reset(decision.subject, now)
        else:
            self._has_sent = True
            self._courier.send_decision(encode_action_record(decision), b"", now, now)


class LocalActionRecords:
    """The file; only root may write it, so its records need no signatures."""

    def __init__(self, folder: Path, *, creates: bool = False) -> None:
        """Open the file. creates: whether it is created if missing. Raises BadInput, or DatabaseUnusable."""
        path = folder / FILE_NAME
        if not creates and not path.exists():
            raise BadInput(f"{folder}: there are no records of actions: run `lanner run` with action policies.")
        with opening(path):
            self._base = open_database(path, _SCHEMA)
            # A stop of all actions holds until somebody resumes them.
            self._base.execute(
                "DELETE FROM records WHERE stored < ? AND kind != 'decision'", (time.time_ns() - _RETAINED,)
            )
        self._read = 0
        self.unreadable = 0
        """Records of another release, or that somebody damaged."""

    def update(self, book: ActionBook) -> list[ActionRecord]:
        """Pass the records that were stored since the last call to a book, and return them. Raises OSError."""
        found: list[ActionRecord] = []
        with as_os_errors():
            rows = self._base.execute(
                "SELECT number, kind, value, stored FROM records WHERE number > ? ORDER BY number", (self._read,)
            ).fetchall()
        for number, kind, value, stored in rows:
            self._read = number
            try:
                record: ActionRecord = decode_action_record(value, _KINDS[kind])
            except (BadActionRecord, KeyError):
                self.unreadable += 1
                continue
            book.take(record, stored)
            found.append(record)
        return found

    def write(self, record: ActionRecord) -> None:
        """Store a record. Raises BadActionRecord, or OSError."""
        kind = next(name for name, each in _KINDS.items() if isinstance(record, each))
        with transaction(self._base):
            self._base.execute(
                "INSERT INTO records (kind, value, stored) VALUES (?, ?, ?)",
                (kind, encode_action_record(record), time.time_ns()),
            )

    def close(self) -> None:
        """Close the file."""
        self._base.close()
